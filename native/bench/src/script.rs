// SPDX-License-Identifier: MIT
//! Runs a module in quickjs-ng as ipopd does, without ipopd's host: it gets `bench` with a clock, its arguments and an output.

use std::io::Write;
use std::time::Instant;

use rquickjs::{CatchResultExt, Context, Ctx, Function, Module, Object, Runtime};

/// As in ipopd.
const STACK_LIMIT: usize = 256 << 10;

/// Runs the module to its end.
pub fn run(file: &str, args: &[&str]) -> Result<(), String> {
    let source = std::fs::read_to_string(file).map_err(|cause| format!("cannot read {file}: {cause}"))?;
    let failed = |cause: rquickjs::Error| format!("cannot make the JavaScript engine: {cause}");
    let runtime = Runtime::new().map_err(failed)?;
    runtime.set_max_stack_size(STACK_LIMIT);
    let context = Context::full(&runtime).map_err(failed)?;
    context.with(|ctx| {
        install(&ctx, args).map_err(failed)?;
        let result = Module::evaluate(ctx.clone(), "stages.js", source).and_then(|promise| promise.finish::<()>());
        result.catch(&ctx).map_err(|error| format!("{file}: {error}"))
    })
}

fn install(ctx: &Ctx<'_>, args: &[&str]) -> rquickjs::Result<()> {
    let started = Instant::now();
    let bench = Object::new(ctx.clone())?;
    bench.set("nowNs", Function::new(ctx.clone(), move || started.elapsed().as_nanos() as f64)?)?;
    bench.set("args", args.to_vec())?;
    bench.set(
        "out",
        Function::new(ctx.clone(), |line: String| {
            // Nobody reads any more: nothing to tell anyone.
            let _ = writeln!(std::io::stdout(), "{line}");
        })?,
    )?;
    ctx.globals().set("bench", bench)
}
