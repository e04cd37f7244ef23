// SPDX-License-Identifier: MIT

declare const IPOP_VERSION: string | undefined;

/** The version in package.json, put in by the build. */
export const VERSION: string = typeof IPOP_VERSION === 'string' ? IPOP_VERSION : '0.0.0';
