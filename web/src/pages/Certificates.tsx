// Certificates of pods: how long they are valid, and when they will be renewed.

import { Head } from '../lib/Parts';
import type { Mesh, Workload } from '../lib/types';

/// How much of a certificate's life is left, when it ends, and when the sidecar renews it.
export function lifetime(from: number, to: number, now: number): { percent: number; text: string; renewal: string } {
  const left = to - now;
  const percent = Math.min(100, Math.max(0, (left / Math.max(1, to - from)) * 100));
  if (left <= 0) return { percent: 0, text: 'expired', renewal: 'overdue' };
  const due = from + (to - from) * RENEWED_AFTER - now;
  return { percent, text: `${span(left)} left`, renewal: due > 0 ? `in about ${span(due)}` : 'due now' };
}

function span(seconds: number): string {
  if (seconds >= 3 * 86_400) return `${Math.floor(seconds / 86_400)} d`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.round(seconds)} s`;
}

/// Share of a certificate's life after which a sidecar renews it, as Istio's do.
export const RENEWED_AFTER = 0.5;

export function Validity({ from, to, now }: { from: number; to: number; now: number }) {
  const { percent, text } = lifetime(from, to, now);
  return (
    <span className="validity" title={`until ${new Date(to * 1000).toLocaleString()}`}>
      <progress max={100} value={percent} aria-label="share of the certificate's life that is left" />
      {text}
    </span>
  );
}

export function Certificates({ pods, mesh }: { pods: Workload[]; mesh: Mesh }) {
  const now = mesh.nowMs / 1000;
  return (
    <div className="scroll">
      <table>
        <caption className="hidden">Pods with certificate and configuration</caption>
        <Head of={['Pod', 'State', 'Certificate', 'Serial', 'Next renewal', 'Generation in force']} />
        <tbody>
          {pods.map((pod) => {
            const sidecar = mesh.sidecars.find((it) => it.proxy === `${pod.pod}.${pod.namespace}`);
            const certificate = sidecar?.certificate;
            return (
              <tr key={pod.pod}>
                <th scope="row">{pod.pod}</th>
                <td>{pod.phase || 'Unknown'}</td>
                <td>{certificate ? <Validity from={certificate.notBefore} to={certificate.notAfter} now={now} /> : pod.sidecar ? 'not reported yet' : 'none: no sidecar'}</td>
                <td>
                  <code className="serial wrap">{certificate?.serial ?? '–'}</code>
                </td>
                <td>{certificate ? lifetime(certificate.notBefore, certificate.notAfter, now).renewal : '–'}</td>
                <td className="number">{sidecar ? `${sidecar.acknowledged}${sidecar.synced ? '' : ` of ${sidecar.wanted}`}` : '–'}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
