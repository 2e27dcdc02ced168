//! The variables of a prompt: `{{ name }}`, with the conditions and loops of Jinja. Rendering is a function of text and
//! values alone: there are no includes, no files and no clock.

use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde_json::{Map, Value};

use crate::{Fault, FaultCode};

/// Steps that a rendering may take; a step is about one value, call or round of a loop.
const FUEL: u64 = 50_000;

/// Fills in the variables of `content`.
///
/// # Errors
/// [`FaultCode::PromptUnrenderable`]: a variable has no value, the template is not well-formed, or it takes too long.
pub fn render(content: &str, variables: &Map<String, Value>) -> Result<String, Fault> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
        .render_str(content, Serde(variables))
        .map_err(|error| Fault::because(FaultCode::PromptUnrenderable, error.to_string()))
}
