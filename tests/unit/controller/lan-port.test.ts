// SPDX-License-Identifier: MIT
import test from 'ava';
import {LanPort} from '../../../src/controller/lan-port.ts';

/** A LAN whose tap and bridge come and go as the test says. */
function lan(bridge: string | undefined = 'br-lan') {
  const world = {tapError: '', bridgeError: '', renamed: 0, nextPort: 1, events: [] as string[]};
  const port = new LanPort(
    {
      openTap() {
        if (world.tapError) throw new Error(world.tapError);
        return world.nextPort++;
      },
      joinBridge() {
        if (world.bridgeError) throw new Error(world.bridgeError);
      },
      hasDevice: (id) => id !== world.renamed,
      onPortUp: (id) => world.events.push(`up ${id}`),
      onPortDown: (id) => world.events.push(`down ${id}`),
      onChange: (state) => world.events.push(state.name),
    },
    {tap: 'ipop0', bridge},
  );
  return {world, port};
}

test('a tap is made, enabled and put into its bridge', (t) => {
  const {world, port} = lan();
  port.start(0);
  t.deepEqual(world.events, ['up 1', 'joined']);
  t.is(port.nextTimeout(), undefined);
});

test('without a bridge in the configuration the tap stays alone and nothing is retried', (t) => {
  const {world, port} = lan('');
  const alone = new LanPort(
    {
      openTap: () => 1,
      joinBridge: () => t.fail(),
      hasDevice: () => true,
      onPortUp() {},
      onPortDown() {},
      onChange() {},
    },
    {tap: 'x', bridge: undefined},
  );
  alone.start(0);
  t.is(alone.state?.name, 'unbridged');
  t.is(port.state, undefined);
  t.deepEqual(world.events, []);
});

test('a missing bridge is named, and joined as soon as interfaces change', (t) => {
  const {world, port} = lan();
  world.bridgeError = "there is no interface 'br-lan'";
  port.start(0);
  t.is(port.state?.name === 'no-bridge' && port.state.error.message, "there is no interface 'br-lan'");
  world.bridgeError = '';
  port.handleInterfacesChanged(5);
  t.deepEqual(world.events, ['up 1', 'no-bridge', 'joined']);
});

test('a tap that somebody renamed is given up and made anew under its name, once', (t) => {
  const {world, port} = lan();
  port.start(0);
  world.renamed = 1;
  port.handleInterfacesChanged(5);
  port.handleInterfacesChanged(6);
  t.false(port.handlePortGone(1, 7), 'the old one is none of ours any more');
  t.deepEqual(world.events, ['up 1', 'joined', 'down 1', 'up 2', 'joined']);
});

test('a tap that cannot be made is tried again after ten seconds', (t) => {
  const {world, port} = lan();
  world.tapError = 'no /dev/net/tun';
  port.start(0);
  world.tapError = '';
  port.handleTimeout(9_999);
  t.is(port.port, undefined);
  port.handleTimeout(10_000);
  t.deepEqual(world.events, ['no-tap', 'up 1', 'joined']);
});

test('a deleted tap is reported down and made anew', (t) => {
  const {world, port} = lan();
  port.start(0);
  port.handlePortGone(1, 1);
  t.deepEqual(world.events, ['up 1', 'joined', 'down 1', 'up 2', 'joined']);
});

test('a stopped port gives its tap back, and nothing is tried again', (t) => {
  const {world, port} = lan();
  world.bridgeError = 'gone';
  port.start(0);
  port.stop();
  t.deepEqual(world.events, ['up 1', 'no-bridge', 'down 1']);
  t.is(port.port, undefined);
  t.is(port.nextTimeout(), undefined);
});

test('a bridge that vanishes is reported once, however often interfaces change', (t) => {
  const {world, port} = lan();
  port.start(0);
  world.bridgeError = 'gone';
  port.handleInterfacesChanged(1);
  port.handleInterfacesChanged(2);
  t.deepEqual(world.events, ['up 1', 'joined', 'no-bridge']);
});
