//! Examples, made of schemas: a field shows its own example, or what its form asks for.

use serde_json::{Map, Value, json};
use wire::schema::REFERENCE;

/// Gives the request and the success of an operation an example each.
pub(super) fn add(operation: &mut Value, schemas: &Map<String, Value>) {
    let places = ["/requestBody/content/application~1json", "/responses/200/content/application~1json"];
    for (place, everything) in places.into_iter().zip([false, true]) {
        if let Some(content) = operation.pointer_mut(place) {
            content["example"] = example(&content["schema"], schemas, everything);
        }
    }
}

/// An instance of `schema`: with all that must be there (`everything`: and what may be null, as null), and all that has an
/// example of its own.
fn example(schema: &Value, schemas: &Map<String, Value>, everything: bool) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(REFERENCE)) {
        return schemas.get(name).map_or(Value::Null, |schema| example(schema, schemas, everything));
    }
    let own = [&schema["examples"][0], &schema["const"], &schema["enum"][0], &schema["oneOf"][0]["const"]];
    if let Some(own) = own.into_iter().find(|own| !own.is_null()) {
        return own.clone();
    }
    if schema["anyOf"].is_array() {
        return Value::Null;
    }
    match schema["type"].as_str() {
        Some("string") => match schema["format"].as_str() {
            Some("uuid") => "0198c5a2-7d1e-7b43-9a52-4f0e5c6d7e8f".into(),
            Some("date-time") => "2026-05-04T09:30:00Z".into(),
            _ => "text".into(),
        },
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => true.into(),
        Some("array") => json!([example(&schema["items"], schemas, everything)]),
        Some("object") => object(schema, schemas, everything),
        _ => Value::Null,
    }
}

fn object(schema: &Value, schemas: &Map<String, Value>, everything: bool) -> Value {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let fields = schema["properties"].as_object().into_iter().flatten();
    let shown = fields.filter(|(name, field)| required(name) || field.get("examples").is_some());
    shown
        .map(|(name, field)| (name.clone(), example(field, schemas, everything)))
        .collect::<Map<_, _>>()
        .into()
}
