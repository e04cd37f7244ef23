// SPDX-License-Identifier: MIT
// Nodes of different versions of the protocol: docs/PROTOCOL.md, section 5.

import {IpopError} from '../base/errors.ts';

/** The version that this node speaks. */
export const PROTOCOL_VERSION = 1;

/** Code of a failed try, and reason told to the peer. */
export const UNSUPPORTED_VERSION = 'unsupported-version';

/** What a peer whose version we refuse is told. */
export const SPEAKS = `I speak version ${PROTOCOL_VERSION}`;

/** A peer's signal or hello was of another version. */
export function otherVersion(version: number): IpopError {
  const older = version > PROTOCOL_VERSION ? 'this node' : 'the peer';
  const text = `The peer speaks version ${version} of ipop's protocol, this node version ${PROTOCOL_VERSION}: update ${older}`;
  return new IpopError(UNSUPPORTED_VERSION, text);
}

/** The peer refused our version; `said` is what it told with that. */
export function refusedVersion(said: string): IpopError {
  const quoted = said === '' ? '' : ` (it says: ${said})`;
  const text = `The peer does not take version ${PROTOCOL_VERSION} of ipop's protocol${quoted}: update the older node`;
  return new IpopError(UNSUPPORTED_VERSION, text);
}
