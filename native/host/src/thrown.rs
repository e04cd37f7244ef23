// SPDX-License-Identifier: MIT
//! What a program threw, as text for the log.

use rquickjs::convert::Coerced;
use rquickjs::{Ctx, Error, Exception, FromJs, Value};

/// Text and stack of whatever made a call into the program fail.
pub fn describe_error(ctx: &Ctx<'_>, error: &Error) -> String {
    if error.is_exception() { describe(ctx, ctx.catch()) } else { error.to_string() }
}

/// Text and stack of any thrown value. It may be null: that is what quickjs throws when memory is too short for an error object.
pub fn describe<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> String {
    let mut text = coerce(ctx, &value).unwrap_or_else(|| format!("something without text ({})", value.type_name()));
    let exception = value.into_object().and_then(Exception::from_object);
    if let Some(stack) = exception.and_then(|exception| exception.stack()) {
        text.push('\n');
        text.push_str(stack.trim_end());
    }
    text
}

fn coerce<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Option<String> {
    match Coerced::<String>::from_js(ctx, value.clone()) {
        Ok(Coerced(text)) => Some(text),
        Err(error) => {
            if error.is_exception() {
                ctx.catch();
            }
            None
        }
    }
}
