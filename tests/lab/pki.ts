// SPDX-License-Identifier: MIT
// Certificates for the lab's servers, made by openssl and valid for a few days.

import {join} from 'node:path';
import {runSync} from './exec.ts';
import type {Lab} from './lab.ts';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A certificate authority of the lab's own. */
export class Authority {
  readonly #lab: Lab;
  readonly #name: string;
  /** PEM file to trust. */
  readonly caFile: string;
  readonly #keyFile: string;

  constructor(lab: Lab, name = 'ca') {
    this.#lab = lab;
    this.#name = name;
    const folder = lab.folder('pki');
    this.caFile = join(folder, `${name}.pem`);
    this.#keyFile = join(folder, `${name}.key`);
    const extensions = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign'];
    const files = ['-keyout', this.#keyFile, '-out', this.caFile, '-days', '30'];
    runSync(['openssl', 'req', '-x509', ...NEW_KEY, '-subj', `/CN=ipop lab ${name}`, ...extensions, ...files]);
  }

  /** Issues a server certificate for DNS names. `days`: validity from now; negative: it has expired already. */
  issue(label: string, names: readonly string[], days = 30): Certificate {
    const base = join(this.#lab.folder('pki'), `${this.#name}-${label}`);
    const files = {certFile: `${base}.pem`, keyFile: `${base}.key`};
    const request = `${base}.csr`;
    runSync(['openssl', 'req', ...NEW_KEY, '-keyout', files.keyFile, '-subj', `/CN=${names[0]}`, '-out', request]);
    const names_ = names.map((name) => `DNS:${name}`).join(',');
    const extensions = this.#lab.file(
      `pki/${this.#name}-${label}.ext`,
      `basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=${names_}\n`,
    );
    const signer = ['-CA', this.caFile, '-CAkey', this.#keyFile, '-CAcreateserial', '-extfile', extensions];
    runSync(['openssl', 'x509', '-req', '-in', request, ...signer, '-days', String(days), '-out', files.certFile]);
    return files;
  }
}
