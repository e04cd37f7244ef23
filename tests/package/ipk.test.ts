// SPDX-License-Identifier: MIT
// The .ipk, byte by byte where opkg is particular: made twice, taken apart, compared with what openwrt/Makefile says.

import {readFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import {gunzipSync} from 'node:zlib';
import test from 'ava';
import {runSync} from '../lab/exec.ts';
import {DIST, EPOCH_SEC, makePackage, temporaryFolder, TREE, VERSION} from './kit.ts';
import {readTar, type TarMember} from './tar.ts';

const folder = temporaryFolder();
let ipk = '';
let outer: readonly TarMember[];
let control: readonly TarMember[];
let data: readonly TarMember[];

test.before(async () => {
  ipk = await makePackage('ipk', folder);
  outer = readTar(gunzipSync(readFileSync(ipk)));
  control = readTar(gunzipSync(contentOf(outer, './control.tar.gz')));
  data = readTar(gunzipSync(contentOf(outer, './data.tar.gz')));
});

function contentOf(members: readonly TarMember[], name: string): Buffer {
  const found = members.find((member) => member.name === name);
  if (found === undefined) throw new Error(`no ${name}; there are ${members.map((member) => member.name).join(' ')}`);
  return found.content;
}

const textOf = (members: readonly TarMember[], name: string): string => contentOf(members, name).toString();

/** The fields of the control file. */
function fields(): Map<string, string> {
  const found = [...textOf(control, './control').matchAll(/^([A-Za-z-]+): (.*)$/gm)];
  return new Map(found.map(([, name = '', value = '']) => [name, value]));
}

test('the .ipk is the same bytes when it is made again at another time', async (t) => {
  const again = await makePackage('ipk', join(folder, 'again'));
  t.is(basename(ipk), basename(again));
  t.true(readFileSync(ipk).equals(readFileSync(again)));
});

test('the .ipk has the three members opkg wants, in its order, and is named after the version in package.json', (t) => {
  t.regex(basename(ipk), new RegExp(`^ipop_${VERSION.replaceAll('.', '\\.')}-r1_(x86_64|aarch64_generic)\\.ipk$`));
  t.deepEqual(
    outer.map(({name}) => name),
    ['./debian-binary', './data.tar.gz', './control.tar.gz'],
  );
  t.is(textOf(outer, './debian-binary'), '2.0\n');
});

test('every member is of a kind opkg knows, owned by root, of one time, and in order', (t) => {
  for (const members of [outer, control, data]) {
    for (const {name, type, owner, mtimeSec, magic} of members) {
      t.regex(type, /^[0125]$/, `${name}: neither pax headers nor special files`);
      t.is(magic, 'ustar  ', name);
      t.deepEqual([owner, mtimeSec], ['0:0', EPOCH_SEC], name);
    }
  }
  const names = data.map(({name}) => name);
  t.deepEqual(names, [...names].sort());
});

test('the .ipk installs these files with these modes, and nothing else', (t) => {
  const files = data.filter(({type}) => type !== '5').map(({name, mode, target}) => `${mode} ${name}${target}`);
  t.deepEqual(files, [
    '600 ./etc/config/ipop',
    '644 ./etc/hotplug.d/net/50-ipop',
    '755 ./etc/init.d/ipop',
    '644 ./lib/upgrade/keep.d/ipop',
    '777 ./usr/sbin/ipop -> ipopd',
    '755 ./usr/sbin/ipopd',
  ]);
  t.true(contentOf(data, './usr/sbin/ipopd').equals(readFileSync(join(DIST, 'ipopd'))));
});

test('the configuration is a conffile, and the keys are kept over a system upgrade', (t) => {
  t.is(textOf(control, './conffiles'), '/etc/config/ipop\n');
  t.is(textOf(data, './lib/upgrade/keep.d/ipop'), '/etc/ipop/\n');
});

test('the control file says the version, the true installed size, and what the program needs', (t) => {
  const said = fields();
  t.is(said.get('Package'), 'ipop');
  t.is(said.get('Version'), `${VERSION}-r1`);
  t.is(said.get('License'), 'MIT');
  t.is(said.get('Installed-Size'), String(gunzipSync(contentOf(outer, './data.tar.gz')).length));
  t.true(basename(ipk).endsWith(`_${said.get('Architecture')}.ipk`));
  t.is([...said.keys()].at(-1), 'Description');
  const depends = said.get('Depends')?.split(', ') ?? [];
  t.is(new Set(depends).size, depends.length);
  for (const wanted of ['kmod-tun', 'ca-bundle']) t.true(depends.includes(wanted), wanted);
});

/** OpenWrt's package of each library that the program may name; the loader and libgcc_s come with libc's toolchain. */
const OWNERS: Readonly<Record<string, string>> = {
  'libssl.so.3': 'libopenssl3',
  'libcrypto.so.3': 'libopenssl3',
  'libstdc++.so.6': 'libstdcpp6',
  'libm.so.6': 'libc',
  'libc.so.6': 'libc',
  'libgcc_s.so.1': 'libc',
  'ld-linux-x86-64.so.2': 'libc',
  'ld-linux-aarch64.so.1': 'libc',
};

test('every library the program names is in a package it depends on', (t) => {
  const needed = [...runSync(['readelf', '-d', join(DIST, 'ipopd')]).matchAll(/\(NEEDED\).*\[(.*)\]/g)];
  t.true(needed.length > 0);
  const depends = fields().get('Depends')?.split(', ') ?? [];
  for (const [, library = ''] of needed) t.true(depends.includes(OWNERS[library] ?? ''), library);
});

test('the scripts in the .ipk leave the work to functions of OpenWrt, and do nothing while an image is built without them', (t) => {
  for (const name of ['postinst', 'prerm']) {
    const script = control.find((member) => member.name === `./${name}`);
    t.is(script?.mode, '755');
    const text = script?.content.toString() ?? '';
    t.true(text.startsWith('#!/bin/sh\n'));
    t.true(text.endsWith(`. \${IPKG_INSTROOT}/lib/functions.sh\ndefault_${name} $0 $@\n`));
    t.is(runSync(['env', 'IPKG_INSTROOT=/nowhere', 'busybox', 'sh', '-c', text]), '');
  }
});

test('openwrt/Makefile keeps to what the reviewers of its feeds ask for', (t) => {
  const makefile = readFileSync(join(TREE, 'openwrt/Makefile'), 'utf8');
  t.regex(makefile, /^\$\(eval \$\(call BuildPackage,ipop\)\)$/m);
  const conffiles = /define Package\/ipop\/conffiles\n(.*?)endef/s.exec(makefile)?.[1];
  t.is(conffiles, '/etc/config/ipop\n/etc/ipop/\n', 'not indented, folders end in a slash');
  const metadata = /define Package\/ipop\n(.*?)endef/s.exec(makefile)?.[1] ?? '';
  for (const line of metadata.trimEnd().split('\n')) t.regex(line, /^ {2}\S/);
  t.notRegex(makefile, /Package\/\$\(PKG_NAME\)/);
  for (const name of ['PKG_MAINTAINER', 'PKG_LICENSE', 'PKG_LICENSE_FILES', 'PKG_RELEASE']) {
    t.regex(makefile, new RegExp(`^${name}:=\\S`, 'm'));
  }
});
