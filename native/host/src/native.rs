// SPDX-License-Identifier: MIT
//! `__host.native`: every function of ipop.h by its name. Arguments are ints, or Uint8Arrays passed by address without a copy. The
//! lengths are checked against the arrays here, so no program can make native read or write outside of them.

use std::ffi::c_int;
use std::ops::Range;

use rquickjs::function::Rest;
use rquickjs::{Ctx, Exception, Function, Object, Result, TypedArray, Value};

#[derive(Clone, Copy)]
enum Param {
    Int,
    /// An array; the next parameter is how much of it native may use.
    Bytes,
    /// An array without a length in C: at least so many bytes.
    Fixed(usize),
}

#[derive(Clone, Copy)]
struct Slot {
    int: c_int,
    address: *mut u8,
}

struct Native {
    name: &'static str,
    params: &'static [Param],
    call: fn(&[Slot]) -> c_int,
}

macro_rules! param {
    (int) => {
        Param::Int
    };
    (bytes) => {
        Param::Bytes
    };
    ($size:literal) => {
        Param::Fixed($size)
    };
}

macro_rules! argument {
    ($slot:expr, int) => {
        $slot.int
    };
    ($slot:expr, $kind:tt) => {
        $slot.address
    };
}

macro_rules! natives {
    ($($name:ident($($kind:tt),*);)*) => {
        const NATIVES: &[Native] = &[$(Native {
            name: stringify!($name),
            params: &[$(param!($kind)),*],
            #[allow(unused_unsafe, unused_mut, unused_variables, reason = "some take no argument, some no pointer")]
            call: |slots| {
                let mut slots = slots.iter();
                // SAFETY: arguments() made one slot for each parameter; addresses are of live arrays at least as long as the int
                // after them (or as the fixed size) says, no two overlap, and no JavaScript runs during the call.
                unsafe { ipop::$name($(argument!(slots.next().expect("a slot for each parameter"), $kind)),*) }
            },
        }),*];
    };
}

natives! {
    ipop_abi_version();
    ipop_start();
    ipop_stop();
    ipop_wake_fd();
    ipop_poll(bytes, int);
    ipop_last_error(bytes, int);
    ipop_process_counters(bytes, int);
}

/// Names of all functions, in the header's order.
pub fn native_names() -> impl Iterator<Item = &'static str> {
    NATIVES.iter().map(|native| native.name)
}

/// The object `__host.native`.
pub fn native_object<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    for native in NATIVES {
        let function = Function::new(ctx.clone(), move |ctx: Ctx<'js>, Rest(values): Rest<Value<'js>>| {
            arguments(&ctx, native, &values).map(|slots| (native.call)(&slots))
        })?;
        object.set(native.name, function.with_name(native.name)?)?;
    }
    Ok(object)
}

/// One slot for each parameter. TypeError: wrong number or type of an argument, or two arrays that overlap; RangeError: an array
/// shorter than native was told.
fn arguments(ctx: &Ctx<'_>, native: &Native, values: &[Value<'_>]) -> Result<Vec<Slot>> {
    let (name, params) = (native.name, native.params);
    if values.len() != params.len() {
        let text = format!("{name} takes {} arguments, not {}", params.len(), values.len());
        return Err(Exception::throw_type(ctx, &text));
    }
    let mut slots = Vec::with_capacity(params.len());
    let mut used: Vec<Range<usize>> = Vec::new();
    for (i, (param, value)) in params.iter().zip(values).enumerate() {
        let slot = match param {
            Param::Int => Slot { int: int(ctx, native, i, value)?, address: std::ptr::null_mut() },
            Param::Bytes => {
                let needed = int(ctx, native, i + 1, &values[i + 1])?;
                array(ctx, native, i, value, usize::try_from(needed).unwrap_or(0), &mut used)?
            }
            Param::Fixed(needed) => array(ctx, native, i, value, *needed, &mut used)?,
        };
        slots.push(slot);
    }
    Ok(slots)
}

fn int(ctx: &Ctx<'_>, native: &Native, i: usize, value: &Value<'_>) -> Result<c_int> {
    // The engine keeps some whole numbers as doubles.
    let whole = value.as_number().filter(|number| f64::from(*number as c_int) == *number);
    whole.map(|number| number as c_int).ok_or_else(|| {
        Exception::throw_type(ctx, &format!("argument {} of {} must be a 32-bit integer", i + 1, native.name))
    })
}

fn array(
    ctx: &Ctx<'_>,
    native: &Native,
    i: usize,
    value: &Value<'_>,
    needed: usize,
    used: &mut Vec<Range<usize>>,
) -> Result<Slot> {
    let named = |problem: &str| format!("argument {} of {} {problem}", i + 1, native.name);
    let typed = value.as_object().and_then(|object| object.as_typed_array::<u8>()).and_then(TypedArray::as_raw);
    let Some(bytes) = typed else {
        return Err(Exception::throw_type(ctx, &named("must be a Uint8Array that is attached")));
    };
    if bytes.len() < needed {
        let text = named(&format!("has {} bytes, but {needed} were promised", bytes.len()));
        return Err(Exception::throw_range(ctx, &text));
    }
    let address = bytes.as_ptr().cast::<u8>();
    let range = address as usize..address as usize + needed;
    if used.iter().any(|other| other.start < range.end && range.start < other.end) {
        return Err(Exception::throw_type(ctx, &named("overlaps another argument")));
    }
    used.push(range);
    Ok(Slot { int: 0, address })
}
