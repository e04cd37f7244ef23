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
    /// An array that is read; the next parameter is how much of it native may use.
    Bytes,
    /// The same, but written.
    Out,
    /// An array that is read, without a length in C: at least so many bytes.
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
    (out) => {
        Param::Out
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
                // after them (or as the fixed size) says, a written one overlaps no other, and no JavaScript runs during the call.
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
    ipop_poll(out, int);
    ipop_last_error(out, int);
    ipop_process_counters(out, int);
    ipop_switch_open();
    ipop_switch_close(int);
    ipop_tap_open(int, bytes, int, int);
    ipop_memory_open(int, int);
    ipop_memory_write(int, bytes, int);
    ipop_memory_read(int, out, int);
    ipop_port_enable(int, int);
    ipop_port_stand_in(int, int);
    ipop_port_close(int);
    ipop_port_counters(int, out, int);
    ipop_rule_set(int, 6, int, int);
    ipop_rule_delete(int, 6, int);
    ipop_rules_flush(int, int);
    ipop_rules_dump(int, int, out, int);
    ipop_upcall_finish(int, int, int);
    ipop_link_open(int, int, bytes, int);
    ipop_link_remote(int, bytes, int);
    ipop_link_candidate(int, bytes, int);
    ipop_link_send(int, bytes, int);
    ipop_link_express(int, bytes, int);
    ipop_switch_shape(int, bytes, int);
    ipop_link_info(int, out, int);
    ipop_link_close(int);
    ipop_stream_open(bytes, int);
    ipop_stream_write(int, bytes, int);
    ipop_stream_close(int);
    ipop_srv_lookup(bytes, int);
    ipop_ctl_listen(bytes, int);
    ipop_ctl_reply(int, bytes, int);
    ipop_ctl_call(bytes, int, bytes, int, out, int);
    ipop_random(out, int);
    ipop_hash(int, bytes, int, out, int);
    ipop_hmac(int, bytes, int, bytes, int, out, int);
    ipop_pbkdf2(int, bytes, int, bytes, int, int);
    ipop_identity_open(bytes, int, out, int);
    ipop_sign(bytes, int, out, int);
    ipop_verify(32, bytes, int, 64);
    ipop_file_read(bytes, int, out, int);
    ipop_file_write(bytes, int, bytes, int);
    ipop_host_name(out, int);
    ipop_bridge_join(int, bytes, int);
    ipop_bridge_of(int, out, int);
    ipop_address_overlay(bytes, int);
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

/// One slot for each parameter. TypeError: wrong number or type of an argument, or a written array that overlaps another; RangeError:
/// an array shorter than native was told.
fn arguments<'js>(ctx: &Ctx<'js>, native: &Native, values: &[Value<'js>]) -> Result<Vec<Slot>> {
    let (name, params) = (native.name, native.params);
    if values.len() != params.len() {
        let text = format!("{name} takes {} arguments, not {}", params.len(), values.len());
        return Err(Exception::throw_type(ctx, &text));
    }
    let mut slots = Vec::with_capacity(params.len());
    let mut used = Vec::new();
    for (i, (param, value)) in params.iter().zip(values).enumerate() {
        let argument = Argument { ctx, native, number: i + 1, value };
        let needed = match param {
            Param::Int => {
                slots.push(Slot { int: argument.int()?, address: std::ptr::null_mut() });
                continue;
            }
            Param::Fixed(needed) => *needed,
            Param::Bytes | Param::Out => {
                let length = Argument { number: i + 2, value: &values[i + 1], ..argument };
                // Native refuses a negative length by itself.
                usize::try_from(length.int()?).unwrap_or(0)
            }
        };
        let address = argument.array(needed)?;
        let array = Used { range: address as usize..address as usize + needed, written: matches!(param, Param::Out) };
        if used.iter().any(|other| array.conflicts(other)) {
            return Err(argument.type_error("overlaps another, and one of them is written"));
        }
        used.push(array);
        slots.push(Slot { int: 0, address });
    }
    Ok(slots)
}

struct Used {
    range: Range<usize>,
    written: bool,
}

impl Used {
    fn conflicts(&self, other: &Self) -> bool {
        let overlap = self.range.start.max(other.range.start) < self.range.end.min(other.range.end);
        overlap && (self.written || other.written)
    }
}

#[derive(Clone, Copy)]
struct Argument<'a, 'js> {
    ctx: &'a Ctx<'js>,
    native: &'a Native,
    number: usize,
    value: &'a Value<'js>,
}

impl Argument<'_, '_> {
    /// A whole number of 32 bits, with or without sign; the engine keeps some of them as doubles.
    fn int(&self) -> Result<c_int> {
        let whole = |number: f64| number.trunc() == number && (-2f64.powi(31)..2f64.powi(32)).contains(&number);
        let number = self.value.as_number().filter(|&number| whole(number));
        number.map(|number| number as i64 as c_int).ok_or_else(|| self.type_error("must be a 32-bit integer"))
    }

    fn array(&self, needed: usize) -> Result<*mut u8> {
        let typed = self.value.as_object().and_then(|object| object.as_typed_array::<u8>());
        let Some(bytes) = typed.and_then(TypedArray::as_raw) else {
            return Err(self.type_error("must be a Uint8Array that is attached"));
        };
        if bytes.len() < needed {
            let text = self.named(&format!("has {} bytes, but {needed} were promised", bytes.len()));
            return Err(Exception::throw_range(self.ctx, &text));
        }
        Ok(bytes.as_ptr().cast())
    }

    fn type_error(&self, problem: &str) -> rquickjs::Error {
        Exception::throw_type(self.ctx, &self.named(problem))
    }

    fn named(&self, problem: &str) -> String {
        format!("argument {} of {} {problem}", self.number, self.native.name)
    }
}
