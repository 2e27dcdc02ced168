//! The variables of a prompt: `{{ name }}`, with the conditions, loops and some filters of Jinja. Rendering is a function of
//! text and values alone: there are no includes, no files and no clock. It is bounded in steps and in memory.

mod refusal;

use std::io;

use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, filters, syntax::SyntaxConfig, tests, value::Serde,
};
use serde_json::{Map, Value};

use crate::{Fault, FaultCode};

/// Steps that a rendering may take; a step is about one value, call or round of a loop.
const FUEL: u64 = 50_000;
/// The longest text that comes of a prompt, in bytes.
pub const RENDERED_BYTES_MAX: usize = 256 * 1024;
/// Loops within loops.
const DEPTH_MAX: usize = 32;

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
    let environment = environment();
    let template = environment.template_from_str(content).map_err(|error| explained(&error))?;
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
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment
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
        ErrorKind::UnknownTest | ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => {
            "a function is not offered"
        }
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
mod rendering {
    use serde_json::json;

    use super::*;

    fn rendered(template: &str) -> Result<String, String> {
        let variables = json!({
            "name": "Ana", "items": ["a", "b"], "nested": { "k": "v" }, "none": null, "long": "x".repeat(32_000),
            "many": (0..5000).collect::<Vec<_>>(), "html": "<b>&\"",
        });
        let fault = |fault: Fault| {
            assert_eq!(fault.code, FaultCode::PromptUnrenderable);
            fault.message.into_owned()
        };
        render(template, variables.as_object().unwrap()).map_err(fault)
    }

    #[test]
    fn variables_conditions_and_loops_are_filled_in() {
        let cases = [
            ("plain } { text\n", "plain } { text\n"),
            ("Hello {{ name }}!\n", "Hello Ana!\n"),
            ("{{ name|upper }} {{ name | lower }} {{ items|length }}", "ANA ana 2"),
            ("{% for i in items %}{{ loop.index }}{{ i }},{% endfor %}", "1a,2b,"),
            ("{% if name == 'Ana' %}yes{% else %}no{% endif %}", "yes"),
            ("{{ nested.k }}{{ nested['k'] }}{{ items[1] }}", "vvb"),
            ("{{ missing|default('d') }}{% if missing is defined %}x{% endif %}", "d"),
            ("{{ html }}", "<b>&\""),
            ("{# a note * with + signs #}x\n\n", "x\n\n"),
            ("{{ '{{ not a tag }}' }}", "{{ not a tag }}"),
            ("{{- name -}}", "Ana"),
        ];
        for (template, text) in cases {
            assert_eq!(rendered(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        let cases = [
            ("{{ missing }}", "no value"),
            ("{{ nested.missing }}", "no value"),
            ("\n{{ name", "not well-formed"),
            ("{% if %}", "not well-formed"),
            ("{{ name|unknown }}", "filter"),
            ("{{ call() }}", "function"),
            ("{% include 'x' %}", "not offered"),
        ];
        for (template, words) in cases {
            let error = rendered(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
        assert!(rendered("a\nb {{ missing }}").unwrap_err().contains("line 2"));
    }

    #[test]
    fn nothing_can_be_built_that_grows_without_bound() {
        let long = |before: &str, part: &str, after: &str| {
            format!("{before}{}{after}", part.repeat(32_000 / part.len()))
        };
        let short = |before: &str, part: &str, after: &str| {
            format!("{before}{}{after}", part.repeat(490 / part.len()))
        };
        let deep = [
            long("{{ ", "(", "x"),
            long("{{ ", "(", ") }}"),
            long("{{ name", "|upper", " }}"),
            long("{{ nested", ".k", " }}"),
            long("{{ ", "not ", "x }}"),
            long("{{ ", "-", "1 }}"),
            long("{{ name", "[0]", " }}"),
            long("", "{% if name %}", ""),
            long("", "{% for a in many %}", ""),
            long("{% if none %}", "{% elif none %}", "{% endif %}"),
            short("{{ nested", ".k", " }}"),
            short("{{ ", "-", "name }}"),
            short("{{ ", "(", " }}"),
        ];
        let cases = [
            "{{ 'x' * 1000000000 }}",
            "{{ long ~ long }}",
            "{{ long + long }}",
            "{% set x = long %}",
            "{% with x = long %}{% endwith %}",
            "{% macro m() %}{% endmacro %}",
            "{%- filter upper -%}x{% endfilter %}",
            "{{ [long, long] }}",
            "{{ {'a': long} }}",
            "{{ long|replace('x', long) }}",
            "{{ items|join(long) }}",
            "{{ range(1000000000) }}",
            "{% for a in many %}{{ long }}{% endfor %}",
            "{% for a in many %}{% for b in many %}{% endfor %}{% endfor %}",
            "{% for a in many recursive %}{{ loop(many) }}{% endfor %}",
        ];
        for template in cases.into_iter().chain(deep.iter().map(String::as_str)) {
            assert!(rendered(template).is_err(), "{template:.80}");
        }
        for fine in [short("{{ name", "|upper", " }}"), short("{{ ", "not ", "name }}")] {
            assert!(rendered(&fine).is_ok(), "{fine:.80}");
        }
    }
}
