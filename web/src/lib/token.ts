// A token (JWT, RFC 7519) that somebody pastes, decoded where it was pasted: nothing here asks anybody.

import type { TokenIssuer } from './types';

/// Seconds by which clocks may differ, as sidecars allow it.
const SKEW = 60;

type Members = Record<string, unknown>;

export interface Decoded {
  header: Members;
  claims: Members;
}

/// The parts of a token, or why it is none. The signature is not looked at.
export function decode(text: string): Decoded | string {
  const parts = text.trim().replace(/^bearer\s+/i, '').split('.');
  if (parts.length !== 3) return `A token has three parts with dots between them; this has ${parts.length}.`;
  const [header, claims] = [part(parts[0] ?? ''), part(parts[1] ?? '')];
  if (!header) return 'Its header (the first part) is no base64url of a JSON object.';
  if (!claims) return 'Its payload (the second part) is no base64url of a JSON object.';
  return { header, claims };
}

function part(text: string): Members | null {
  if (!/^[\w-]+$/.test(text)) return null;
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Members) : null;
  } catch {
    return null;
  }
}

/// What would be said about a token at a time (seconds since 1970) before its signature is verified: what is wrong
/// with it, in sentences. Only sidecars have the last word.
export function faults({ header, claims }: Decoded, issuers: TokenIssuer[], now: number): string[] {
  const said: string[] = [];
  if (header.alg === 'none') said.push('It is not signed (`alg` is `none`): 401.');
  if (typeof claims.exp === 'number' && claims.exp > 0 && claims.exp + SKEW < now) said.push(`It expired at ${moment(claims.exp)}: 401.`);
  if (typeof claims.nbf === 'number' && claims.nbf > now + SKEW) said.push(`It is not valid before ${moment(claims.nbf)}: 401.`);
  const named = issuers.filter(({ issuer }) => issuer === claims.iss);
  if (named.length === 0) return [...said, `No RequestAuthentication names its issuer ${typeof claims.iss === 'string' ? `\`${claims.iss}\`` : '(it has none)'}: 401.`];
  const audiences = [claims.aud].flat();
  if (named.every((rule) => rule.audiences.length > 0 && !rule.audiences.some((it) => audiences.includes(it)))) {
    said.push(`None of its audiences is asked for by ${names(named)}: 403.`);
  }
  const kid = header.kid;
  const lacks = ({ keys }: TokenIssuer) => keys.keys !== null && keys.keys.length > 0 && keys.keys.every((key) => key.kid !== undefined && key.kid !== kid);
  if (typeof kid === 'string' && named.every(lacks)) said.push(`No key of ${names(named)} is called \`${kid}\`: 401.`);
  if (named.every(({ keys }) => keys.state === 'missing')) said.push(`There are no keys for ${names(named)}: 401.`);
  return said;
}

const names = (rules: TokenIssuer[]) => rules.map(({ policy }) => `\`${policy.name}.${policy.namespace}\``).join(', ');

/// A time of a claim, for people.
export const moment = (seconds: number) => new Date(seconds * 1000).toLocaleString();
