// SPDX-License-Identifier: MIT
// Globals that every runtime we run on has (quickjs-ng, txiki.js, Node). Nothing else of the kind may be used: no Buffer, process,
// TextEncoder, URL, crypto, structuredClone, Intl. Timers are set up by main.ts for the @xmpp packages, never used by our own cores.

declare function btoa(binary: string): string;
declare function atob(base64: string): string;
declare function queueMicrotask(callback: () => void): void;
