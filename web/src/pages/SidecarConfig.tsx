import { useLoaded } from '../lib/api';
import { Command, Empty, Trouble } from '../lib/Parts';
import { useParameter } from '../lib/router';
import type { Sidecar, Workload } from '../lib/types';

/// The configuration of a pod's sidecar, and whether it is in force.
export function SidecarConfig({ pods, sidecars }: { pods: Workload[]; sidecars: Sidecar[] }) {
  const [asked, setPod] = useParameter('pod');
  const pod = pods.find((it) => it.pod === asked) ?? pods[0];
  if (!pod) return null;
  const sidecar = sidecars.find((it) => it.proxy === `${pod.pod}.${pod.namespace}`);
  return (
    <>
      <label className="choice narrow">
        <span>Pod</span>
        <select value={pod.pod} onChange={(event) => setPod(event.target.value)}>
          {pods.map((it) => (
            <option key={it.pod}>{it.pod}</option>
          ))}
        </select>
      </label>
      {!pod.sidecar && <Empty title="No sidecar">The pod has none, so there is no configuration.</Empty>}
      {sidecar && (
        <p>
          Generation {sidecar.acknowledged} is in force
          {sidecar.acknowledged < sidecar.wanted ? `; generation ${sidecar.wanted} is on its way` : ', and it is what the mesh wants'}
          {sidecar.error && `; the last one was refused: ${sidecar.error}`}.
        </p>
      )}
      {pod.sidecar && <Json key={pod.pod} pod={pod} />}
      <Command>{`palisade proxy-config all ${pod.pod}.${pod.namespace}`}</Command>
    </>
  );
}

function Json({ pod }: { pod: Workload }) {
  const query = new URLSearchParams({ namespace: pod.namespace, pod: pod.pod });
  const { data, error } = useLoaded<unknown>(`/api/sidecar-config?${query.toString()}`, 5000);
  if (error) return <Trouble text={error} />;
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must take the focus
    <pre className="log" tabIndex={0} aria-label="Configuration">
      {data ? JSON.stringify(data, null, 2) : 'Asking the control plane.'}
    </pre>
  );
}
