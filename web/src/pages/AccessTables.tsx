// Who may call a workload: callers of the mesh by operations, a table for each port.

import { explainLink } from '../graph/text';
import { Link, Prose } from '../lib/Parts';
import type { Access, AccessAnswer, PortAccess } from '../lib/types';

const NAMES: Record<string, string> = {
  none: 'plaintext, no identity',
  'any-other-namespace/any-other-account': 'any other identity of the mesh',
};

export function AccessTables({ access, to }: { access: Access; to: string }) {
  if (!access.sidecar) {
    return (
      <p className="note">
        It has no sidecar, so nothing is enforced: everybody may do anything. Label its namespace <code>istio-injection=enabled</code> and restart it.
      </p>
    );
  }
  return (
    <>
      <p className="lead">
        Each known caller, asked about a request for each operation that a rule names. The engine that answers is the one that sidecars decide by; a header or a token may change an answer.
      </p>
      {access.leftOut > 0 && <p className="note">{access.leftOut} more callers or operations are not shown.</p>}
      {access.ports.map((port) => (
        <PortTable key={port.port} port={port} to={to} />
      ))}
    </>
  );
}

function PortTable({ port, to }: { port: PortAccess; to: string }) {
  const operations = port.operations.length > 0 ? port.operations : [null];
  return (
    <>
      <h2>Port {port.port}</h2>
      <div className="scroll">
        <table className="access">
          <caption className="hidden">Who may do what at port {port.port}</caption>
          <thead>
            <tr>
              <th scope="col">Caller</th>
              {operations.map((operation) => (
                <th key={operation ? `${operation.method} ${operation.path}` : 'connect'} scope="col">
                  {operation ? `${operation.method} ${operation.path}` : 'connect'}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {port.callers.map(({ from, answers }) => (
              <tr key={from}>
                <th scope="row">{NAMES[from] ?? from}</th>
                {answers.map((answer, index) => {
                  const { method, path } = operations[index] ?? { method: 'GET', path: '/' };
                  return (
                    <td key={`${method} ${path}`} className={answer.verdict}>
                      <Link to={explainLink({ from, to, method, path, port: port.port })}>
                        <Answer answer={answer} />
                      </Link>
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <details>
        <summary>Why, in words</summary>
        <ul>
          {port.callers.flatMap(({ from, answers }) =>
            answers.map((answer, index) => (
              <li key={`${from} ${index}`}>
                <b>{NAMES[from] ?? from}</b> {operations[index] ? `${operations[index].method} ${operations[index].path}` : 'connect'}: <Prose text={answer.sentence} />
              </li>
            )),
          )}
        </ul>
      </details>
    </>
  );
}

function Answer({ answer }: { answer: AccessAnswer }) {
  const allowed = answer.verdict === 'allow';
  return (
    <span className={`pill ${allowed ? 'allowed' : 'denied'}`} title={answer.sentence}>
      {allowed ? '✓ allowed' : '⊘ denied'}
    </span>
  );
}
