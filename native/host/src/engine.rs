// SPDX-License-Identifier: MIT
//! One program from start to exit code: the engine with its limits, the turns it runs in, and what becomes of what it throws.

use std::cell::Cell;
use std::ffi::OsString;
use std::rc::Rc;

use rquickjs::{Context, Ctx, Module, Runtime};

use crate::event_loop;
use crate::host_object;
use crate::shared::{Shared, log};
use crate::signals::Signals;
use crate::thrown::{describe, describe_error};

/// A daemon with 100 peers needs below 2 MB; a leak must hit this before it hits the router.
const MEMORY_LIMIT: usize = 32 << 20;
/// The engine's default: overflow is a RangeError long before the thread's 8 MiB end.
const STACK_LIMIT: usize = 256 << 10;
/// EX_SOFTWARE of sysexits.h: the program failed before its loop began.
const EXIT_START_FAILED: u8 = 70;

/// What to run.
pub struct Program<'a>(Form<'a>);

enum Form<'a> {
    Source(&'a str),
    Bytecode(&'static [u8]),
}

impl<'a> Program<'a> {
    /// The text of an ES module without imports.
    pub fn source(text: &'a str) -> Self {
        Self(Form::Source(text))
    }

    /// A module compiled before.
    ///
    /// # Safety
    /// The bytes were written by this version of the engine: it trusts them.
    pub unsafe fn bytecode(bytes: &'static [u8]) -> Self {
        Self(Form::Bytecode(bytes))
    }
}

/// Runs a program until it exits, or until nothing can call it any more. Stops native and returns the exit code. Called once, before
/// the process has other threads.
pub fn run(program: &Program<'_>, args: impl Iterator<Item = OsString>) -> u8 {
    let code = start(program, args.collect()).unwrap_or_else(|problem| {
        log(&format!("cannot start: {problem}"));
        EXIT_START_FAILED
    });
    ipop::ipop_stop();
    code
}

fn start(program: &Program<'_>, args: Vec<OsString>) -> Result<u8, String> {
    let signals = Signals::block().map_err(|error| format!("cannot read signals: {error}"))?;
    let engine = Engine::new(args).map_err(|error| format!("cannot make the JavaScript engine: {error}"))?;
    engine.turn(|ctx| match program.0 {
        Form::Source(text) => Module::evaluate(ctx.clone(), "program.js", text).map(drop),
        // SAFETY: Program::bytecode has the caller's promise.
        Form::Bytecode(bytes) => unsafe { Module::load(ctx.clone(), bytes) }?.eval().map(drop),
    });
    if engine.failed.get() {
        return Ok(EXIT_START_FAILED);
    }
    Ok(event_loop::run(&engine, &signals))
}

/// The engine and what it shares with the loop.
pub struct Engine {
    // Fields are dropped in this order; the shared state lets go of its values first, in drop().
    context: Context,
    runtime: Runtime,
    pub shared: Rc<Shared>,
    failed: Cell<bool>,
}

impl Engine {
    fn new(args: Vec<OsString>) -> rquickjs::Result<Self> {
        let shared = Rc::new(Shared::new());
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(MEMORY_LIMIT);
        runtime.set_max_stack_size(STACK_LIMIT);
        let state = Rc::clone(&shared);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, promise, reason, handled| {
            state.track_rejection(&ctx, promise, reason, handled);
        })));
        let context = Context::full(&runtime)?;
        context.with(|ctx| host_object::install(&ctx, &shared, args))?;
        Ok(Self { context, runtime, shared, failed: Cell::new(false) })
    }

    /// One turn: a call into the program, then its promise jobs to the end. What nobody caught is logged, and the next turn comes.
    pub fn turn(&self, call: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<()>) {
        self.context.with(|ctx| {
            if let Err(error) = call(&ctx) {
                self.uncaught("exception", &describe_error(&ctx, &error));
            }
        });
        // Outside of with(): the runtime is locked inside, and Ctx's own way to run jobs swallows what they throw.
        loop {
            match self.runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => break,
                Err(job) => job.0.with(|ctx| self.uncaught("exception", &describe(&ctx, ctx.catch()))),
            }
        }
        self.report_rejections();
    }

    fn report_rejections(&self) {
        let (reasons, more) = self.shared.take_rejections();
        if reasons.is_empty() {
            return;
        }
        self.context.with(|ctx| {
            for reason in reasons {
                let text = reason.restore(&ctx).map_or_else(|error| error.to_string(), |value| describe(&ctx, value));
                self.uncaught("rejection", &text);
            }
        });
        if more > 0 {
            self.uncaught("rejection", &format!("{more} more in the same turn"));
        }
    }

    fn uncaught(&self, what: &str, text: &str) {
        self.failed.set(true);
        log(&format!("ipopd: uncaught {what}: {text}"));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.clear();
        self.runtime.set_host_promise_rejection_tracker(None);
    }
}
