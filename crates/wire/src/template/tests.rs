//! What templates give, what they are refused for, and that nothing hostile gets further than that.

use std::thread;

use serde_json::json;

use super::*;

/// Half of what a worker's thread has: a template must leave room for what called.
const STACK_BYTES: usize = 1024 * 1024;

fn rendered(template: &str) -> Result<String, String> {
    let template = template.to_owned();
    let renderer = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || filled_in(&template));
    renderer.unwrap().join().unwrap()
}

fn filled_in(template: &str) -> Result<String, String> {
    let variables = json!({
        "name": "Ana", "items": ["a", "b"], "nested": { "k": "v" }, "none": null, "long": "x".repeat(32_000),
        "many": (0..5000).collect::<Vec<_>>(), "html": "<b>&\"", "wide": "\u{df}".repeat(16_000),
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
        ("{{ missing }}", "`missing` is undefined"),
        ("{{ nested.missing }}", "`nested.missing` is undefined"),
        ("{{ missing.k }}", "`missing` is undefined"),
        ("{{ missing|upper }}", "`missing` is undefined"),
        ("{{ missing|length }}", "`missing` is undefined"),
        ("{% if missing|length > 0 %}{% endif %}", "`missing` is undefined"),
        ("{% if missing %}{% endif %}", "`missing` is undefined"),
        ("{% for a in missing %}{% endfor %}", "`missing` is undefined"),
        ("{{ 1 in missing }}", "`missing` is undefined"),
        ("{{ items[2] }}", "no value"),
        ("\n{{ name", "line 2: a tag has no end"),
        ("{{ name }", "no end"),
        ("{# note", "no end"),
        ("{{ 'text }}", "no end"),
        ("{% if %}", "not well-formed"),
        ("{% if name %}", "not well-formed"),
        ("{% endif %}", "not well-formed"),
        ("{{ name is unknown }}", "a test"),
        ("{{ 1 - 'a' }}", "does not fit"),
        ("{{ 1 / 0 }}", "does not fit"),
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

/// Templates that would build something large.
const GROWING: &[&str] = &[
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
    "{% for a in many %}{% if 'xy' in long %}{% endif %}{% endfor %}",
    "{% for a in many %}{% if wide[-1] and wide[-2] and wide[-3] %}{% endif %}{% endfor %}",
    "{% for a in many %}{% if wide[::-1] %}{% endif %}{% endfor %}",
    "{% for a in many %}{% if wide|upper|lower|upper %}{% endif %}{% endfor %}",
    "{% for a in many %}{{ many }}{% endfor %}",
    "{% for a in many %}{% for b in many %}{% endfor %}{% endfor %}",
    "{% for a in many recursive %}{{ loop(many) }}{% endfor %}",
];

#[test]
fn nothing_can_be_built_that_grows_without_bound() {
    let long = |before: &str, part: &str, after: &str| {
        format!("{before}{}{after}", part.repeat(32_000 / part.len()))
    };
    let short =
        |before: &str, part: &str, after: &str| format!("{before}{}{after}", part.repeat(490 / part.len()));
    let mut endless: Vec<_> = [
        ("{{ name", "|upper"),
        ("{{ name", "[0]"),
        ("{{ nested", ".k"),
        ("{{ f", "()"),
        ("{{ name", " and name"),
        ("{{ name", "+name"),
        ("{{ name", "~name"),
        ("{{ name", " is none"),
        ("{{ name", " if name else name"),
        ("{{ ", "not "),
        ("{{ ", "-"),
        ("{{ ", "["),
        ("{{ ", "{'a':"),
        ("{% if ", "not "),
        ("{% for a in ", "-"),
    ]
    .map(|(before, part)| long(before, part, ""))
    .into();
    let ifs = |times: usize, inside: &str| {
        format!("{}{inside}{}", "{% if name %}".repeat(times), "{% endif %}".repeat(times))
    };
    let elifs =
        |inside: &str| format!("{{% if none %}}{}{inside}{{% endif %}}", "{% elif none %}".repeat(99));
    let indexed = format!("{{{{ {}0{} }}}}", "items[".repeat(80), "]".repeat(80));
    endless.push(indexed);
    let deepest = elifs(&ifs(100, &short("{{ ", "not ", "missing }}")));
    endless.extend([deepest, ifs(100, &elifs("{{ missing }}")), ifs(2_000, "")]);
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
    for template in GROWING.iter().copied().chain(deep.iter().chain(&endless).map(String::as_str)) {
        assert!(rendered(template).is_err(), "{template:.80}");
    }
    for fine in [short("{{ name", "|upper", " }}"), short("{{ ", "not ", "name }}")] {
        assert!(rendered(&fine).is_ok(), "{fine:.80}");
    }
}
