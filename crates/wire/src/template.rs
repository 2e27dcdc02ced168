//! The variables of a prompt: `{{ name }}`, with the conditions, loops and some filters of Jinja. Rendering is a function of
//! text and values alone: there are no includes, no files and no clock. It is bounded in steps and in memory.

mod refusal;

use std::{io, sync::LazyLock};

use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, filters,
    syntax::SyntaxConfig,
    tests::{is_defined, is_none, is_undefined},
    value::{Serde, Value as Filled},
};
use serde_json::{Map, Value};

use crate::{Fault, FaultCode};

/// Steps that a rendering may take; a step is about one value, call or round of a loop.
const FUEL: u64 = 50_000;
/// The longest text that comes of a prompt, in bytes.
pub const RENDERED_BYTES_MAX: usize = 256 * 1024;
/// Loops within loops.
const DEPTH_MAX: usize = 32;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// Fills in the variables of `content`.
///
/// # Errors
/// [`FaultCode::PromptUnrenderable`]: a variable has no value, the template is not well-formed or uses what is not offered,
/// or it takes too long or gives too much.
pub fn render(content: &str, variables: &Map<String, Value>) -> Result<String, Fault> {
    // Most prompts have no variables, and then there is nothing to do.
    if !["{{", "{%", "{#"].iter().any(|tag| content.contains(tag)) {
        return Ok(content.to_owned());
    }
    if let Some(reason) = refusal::of(content) {
        return Err(unrenderable(&reason));
    }
    let template = ENVIRONMENT.template_from_str(content).map_err(|error| explained(&error))?;
    let mut text = Bounded::default();
    let rendered = template.render_captured_to(Serde(variables), &mut text);
    match rendered {
        Ok(_) => String::from_utf8(text.bytes).map_err(|_| unrenderable("it gives no text")),
        Err(_) if text.is_full => {
            Err(unrenderable(&format!("it gives more than {} KiB", RENDERED_BYTES_MAX / 1024)))
        }
        Err(error) => Err(explained(&error)),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // An error names the variable that it is about.
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", is_defined);
    environment.add_test("undefined", is_undefined);
    environment.add_test("none", is_none);
    environment
}

/// The engine's own counts what has no value as empty.
fn length(value: &Filled) -> Result<Filled, Error> {
    if value.is_undefined() { Ok(value.clone()) } else { filters::length(value).map(Filled::from) }
}

/// Takes a bounded text.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > RENDERED_BYTES_MAX {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn explained(error: &Error) -> Fault {
    let what = match error.kind() {
        ErrorKind::UndefinedError => "a variable has no value",
        ErrorKind::OutOfFuel => "it takes too many steps",
        ErrorKind::UnknownFilter => "a filter is not offered",
        ErrorKind::UnknownTest => "a test is not offered",
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "a function is not offered",
        ErrorKind::SyntaxError => "it is not well-formed",
        _ => "an operation does not fit its value",
    };
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    let detail = error.detail().map_or(String::new(), |detail| format!(" ({detail:.200})"));
    unrenderable(&format!("{line}{what}{detail}"))
}

fn unrenderable(reason: &str) -> Fault {
    Fault::because(FaultCode::PromptUnrenderable, format!("The prompt cannot be filled in: {reason}"))
}

#[cfg(test)]
mod tests;
