// What the console's API answers with (see /api/openapi.json).

export type GraphType = 'app' | 'versionedApp' | 'workload' | 'service';
export type Verdict = 'allowed' | 'denied' | 'refused';
export type LockState = 'mtls' | 'partly' | 'plaintext' | 'unknown';

export interface GraphNode {
  id: string;
  kind: 'app' | 'workload' | 'service' | 'address' | 'unknown';
  namespace: string;
  name: string;
  version: string;
  workload: string;
}

export interface Traffic {
  count: number;
  rate: number;
  codes: Record<string, number>;
  errors: number;
  errorPercent: number;
  p50Ms: number | null;
  p95Ms: number | null;
  p99Ms: number | null;
  bytesPerSecond: number;
  tcpOpened: number;
}

export interface PolicyCount {
  policy: string;
  namespace: string;
  rule: number | null;
  reason: string;
  count: number;
}

export interface DecisionRecord {
  requestId: string;
  time: string;
  source: { principal: string | null; address: string };
  destination: { address: string; port: number };
  method: string;
  /// As received, with its port; null for a TCP connection.
  host: string | null;
  path: string;
  verdict: string;
  reason: string;
  policy: string | null;
  generation: number;
  responseCode: number;
}

export interface GraphEdge {
  id: string;
  source: string;
  target: string;
  verdict: Verdict;
  services: string[];
  protocols: string[];
  traffic: Traffic;
  lock: { state: LockState; percent: number | null };
  sourcePrincipals: string[];
  destinationPrincipals: string[];
  denials: PolicyCount[];
  dryRun: PolicyCount[];
  lastDenied: DecisionRecord[];
  refusal?: { reason: string; address: string; port: number };
  /// What a draft would make of it.
  draft?: string;
  /// What became of it between two times.
  change?: string;
}

export interface Graph {
  atMs: number;
  rangeMs: number;
  sinceMs: number;
  lost: number;
  /// Which Prometheus told it; absent where the console itself remembers.
  source?: string;
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface GraphChange extends Graph {
  whole: boolean;
  gone: string[];
}

export interface Problem {
  code: string;
  severity: 'error' | 'warning';
  line: number;
  message: string;
  help: string | null;
  field: string | null;
}

export interface ConfigObject {
  kind: string;
  namespace: string;
  name: string;
  created: string;
  yaml: string;
  problems: Problem[];
}

export interface PolicyRef {
  namespace: string;
  name: string;
}

export interface Workload {
  namespace: string;
  pod: string;
  workload: string;
  app: string;
  version: string;
  identity: string | null;
  sidecar: boolean;
  phase: string;
  containers: string[];
  address: string | null;
  ports: number[];
  services: string[];
  mtls: string;
  portMtls: [number, string][];
  mtlsFrom: PolicyRef[];
  policies: { action: string; policy: PolicyRef; dryRun: boolean }[];
}

export interface Sidecar {
  proxy: string;
  connected: boolean;
  synced: boolean;
  version: string;
  wanted: number;
  acknowledged: number;
  error: string | null;
  certificate: { serial: string; notBefore: number; notAfter: number } | null;
  seenMs: number | null;
  lost: number;
}

export interface ServiceView {
  namespace: string;
  name: string;
  ports: { port: number; name: string; target: number | null }[];
  workloads: string[];
}

export interface NamespaceView {
  name: string;
  injected: boolean;
}

export interface Mesh {
  nowMs: number;
  /// The longest time range, in seconds.
  maxRange: number;
  trustDomain: string;
  /// Why the control plane does not answer.
  controlPlaneTrouble: string | null;
  workloads: Workload[];
  services: ServiceView[];
  namespaces: NamespaceView[];
  sidecars: Sidecar[];
}

/// A rule of a RequestAuthentication, and its keys.
export interface TokenIssuer {
  issuer: string;
  policy: PolicyRef;
  audiences: string[];
  workloads: string[];
  keys: {
    state: 'inline' | 'fetched' | 'stale' | 'missing' | 'awaited' | 'unknown';
    at?: string;
    fetchedAt?: string;
    attemptedAt?: string;
    error?: string;
    keys: { kid?: string; kty?: string; alg?: string; use?: string }[] | null;
  };
}

export interface Authority {
  subject: string;
  serial: string;
  notBefore: string;
  notAfter: string;
  fingerprint: string;
}

export interface MeshEvent {
  time: string;
  warning: boolean;
  object: string;
  reason: string;
  message: string;
  count: number;
}

/// The control plane, none of which is known while it does not answer, and what happened in the mesh.
export interface ControlPlane {
  nowMs: number;
  trouble: string | null;
  controlPlane: {
    version: string;
    generation: number;
    troubles: Record<string, string>;
    authority: { step: string; signer: Authority; roots: Authority[]; confirmed: number; total: number; waiting: { who: string; reason: string }[] };
  } | null;
  events: MeshEvent[];
}

export interface Condition {
  field: string;
  attribute: string;
  sense: 'oneOf' | 'noneOf';
  expected: string[];
  got: string[];
  missing?: string;
  hint?: string;
}

export interface Explanation {
  verdict: string;
  sentence: string;
  refusedBy?: string;
  status?: number;
  policy?: PolicyRef;
  rule?: string;
  because?: Condition[];
  nearest?: { policy: PolicyRef; rule: number; failed: Condition[] };
  path?: { raw: string; normalized: string | null };
  layers: { layer: string; said: string; text: string; rule?: string }[];
}

/// What would let a call pass.
export interface Proposed {
  outcome: 'policy' | 'passes' | 'elsewhere';
  sentence: string;
  notes: string[];
  policy?: PolicyRef;
  /// What is added to the policy; absent if it is new.
  adds?: string;
  yaml?: string;
}

export interface Question {
  from: string;
  to: string;
  method?: string;
  path?: string;
  host?: string;
  port?: number;
  headers?: string[];
  claims?: string[];
  tcp?: boolean;
}

export interface AccessAnswer {
  verdict: string;
  policy: PolicyRef | null;
  sentence: string;
}

export interface PortAccess {
  port: number;
  protocol: string | null;
  mtls: string;
  mtlsFrom: PolicyRef | null;
  operations: { method: string; path: string }[];
  callers: { from: string; answers: AccessAnswer[] }[];
}

export interface Access {
  sidecar: boolean;
  ports: PortAccess[];
  policies: { action: string; policy: PolicyRef; dryRun: boolean; words: string[] }[];
  leftOut: number;
}

export interface Lines {
  rate: number[];
  errors: number[];
  denied: number[];
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
}

export interface Series {
  times: number[];
  stepMs: number;
  source?: string;
  inbound: Lines;
  outbound: Lines;
}

export interface Party {
  namespace: string;
  workload: string;
  app: string;
  version: string;
}

export interface CallView {
  number: number;
  pod: { namespace: string; pod: string };
  call: DecisionRecord;
  source: Party | null;
  target: Party | null;
}

export interface ReplayedKind {
  source: Party | null;
  principal: string | null;
  address: string;
  target: Party | null;
  port: number;
  method: string;
  host: string | null;
  path: string;
  seen: number;
}

export type Flip = ReplayedKind & { before: string; after: string; sentence: string };

export interface Preview {
  problems: Problem[];
  kinds: string[];
  replay: { kinds: number; flips: Flip[]; unknown: (ReplayedKind & { why: string })[] };
}

export interface Applied {
  lines: string;
  synced: number;
  total: number;
  generation: number;
  warnings: string[];
}
