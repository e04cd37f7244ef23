// SPDX-License-Identifier: MIT
//! The global `__host`: interface Host of `src/runtime/host.ts`.

use std::ffi::OsString;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rquickjs::function::Opt;
use rquickjs::{Ctx, Exception, Function, Object, Persistent, Result, String as JsString, Value};

use crate::native::native_object;
use crate::shared::{Callback, Shared, log};

/// Longer delays are cut to this (31 years), far from where clock arithmetic overflows.
const MAX_DELAY_MS: f64 = 1e12;

/// Makes `__host` for a program with these arguments.
pub fn install<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, args: Vec<OsString>) -> Result<()> {
    let host = Object::new(ctx.clone())?;
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    host.set("args", args)?;
    host.set("native", native_object(ctx)?)?;
    install_clocks(ctx, shared, &host)?;
    install_callbacks(ctx, shared, &host)?;
    host.set(
        "out",
        Function::new(ctx.clone(), |ctx: Ctx<'js>, text: JsString<'js>| write_out(&text_of(&ctx, text)?))?,
    )?;
    host.set(
        "log",
        Function::new(ctx.clone(), |ctx: Ctx<'js>, line: JsString<'js>| -> Result<()> {
            log(&text_of(&ctx, line)?);
            Ok(())
        })?,
    )?;
    let state = Rc::clone(shared);
    host.set("exit", Function::new(ctx.clone(), move |code: i32| state.exit.set(Some(code.clamp(0, 255) as u8)))?)?;
    ctx.globals().set("__host", host)
}

fn install_clocks<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, host: &Object<'js>) -> Result<()> {
    let started = shared.started;
    host.set("nowMs", Function::new(ctx.clone(), move || started.elapsed().as_secs_f64() * 1000.0)?)?;
    host.set("wallMs", Function::new(ctx.clone(), wall_ms)?)?;
    let state = Rc::clone(shared);
    let set_timer = move |ctx: Ctx<'js>, delay: Value<'js>, callback: Opt<Function<'js>>| -> Result<()> {
        let timer = match (delay.as_number(), callback.0) {
            _ if delay.is_undefined() => None,
            (Some(ms), Some(callback)) if !ms.is_nan() => {
                let delay = Duration::from_secs_f64(ms.clamp(0.0, MAX_DELAY_MS) / 1000.0);
                Some((Instant::now() + delay, Persistent::save(&ctx, callback)))
            }
            _ => {
                return Err(Exception::throw_type(&ctx, "setTimer takes a number of milliseconds and a function"));
            }
        };
        let old = state.timer.replace(timer);
        drop(old);
        Ok(())
    };
    host.set("setTimer", Function::new(ctx.clone(), set_timer)?)
}

fn install_callbacks<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, host: &Object<'js>) -> Result<()> {
    let state = Rc::clone(shared);
    let on_record = move |ctx: Ctx<'js>, callback: Function<'js>| {
        state.on_record.replace(Some(keep(&ctx, callback)));
    };
    host.set("onRecord", Function::new(ctx.clone(), on_record)?)?;
    let state = Rc::clone(shared);
    let on_signal = move |ctx: Ctx<'js>, callback: Function<'js>| {
        state.on_signal.replace(Some(keep(&ctx, callback)));
    };
    host.set("onSignal", Function::new(ctx.clone(), on_signal)?)
}

fn keep<'js>(ctx: &Ctx<'js>, callback: Function<'js>) -> Callback {
    Persistent::save(ctx, callback)
}

fn wall_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// UTF-8 of a string; lone surrogates, which have none, become U+FFFD.
fn text_of<'js>(ctx: &Ctx<'js>, text: JsString<'js>) -> Result<String> {
    text.to_string().or_else(|_| {
        let prototype: Object = ctx.globals().get::<_, Object>("String")?.get("prototype")?;
        let to_well_formed: Function = prototype.get("toWellFormed")?;
        let well_formed: JsString = to_well_formed.call((rquickjs::function::This(text),))?;
        well_formed.to_string()
    })
}

/// A reader that went away (`ipop status | head -1`) is no error of ours.
fn write_out(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}
