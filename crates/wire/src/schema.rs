//! What bodies look like, for those who read a description instead of the code: JSON Schemas (draft 2020-12) of the types
//! that travel, made from the types themselves. The bounds in them are those that [`crate::check`] holds requests to, as far
//! as JSON Schema can say them: it counts characters where [`crate::limits`] count bytes.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value};

/// Text that can be stored: without NUL.
pub(crate) const STORABLE: &str = r"^[^\x00]*$";
/// A name: storable, and not blank. Written so that it is decided in one pass: matchers go back in what could be read in
/// two ways, and then take minutes for a long text.
pub(crate) const NAME: &str = r"^\s*[^\x00\s][^\x00]*$";
/// A label of a version.
pub(crate) const LABEL: &str = "^[A-Za-z0-9._-]+$";
/// A name that models know a function by.
pub(crate) const FUNCTION_NAME: &str = "^[A-Za-z0-9_-]+$";

/// A point in time, as it is written.
pub(crate) struct Time;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// How to describe a type.
#[derive(Clone, Copy)]
pub struct Description(fn(&mut SchemaGenerator) -> Schema);

impl Description {
    /// Of `T`.
    pub const fn of<T: JsonSchema>() -> Self {
        Self(SchemaGenerator::subschema_for::<T>)
    }

    /// A request, on its own: everything that it is made of stands where it is used.
    pub fn of_request(self) -> Value {
        self.alone(SchemaSettings::draft2020_12().for_deserialize())
    }

    /// A reply, on its own.
    pub fn of_reply(self) -> Value {
        self.alone(SchemaSettings::draft2020_12().for_serialize())
    }

    fn alone(self, settings: SchemaSettings) -> Value {
        let settings = settings.with(|settings| settings.inline_subschemas = true);
        (self.0)(&mut settings.into_generator()).into()
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Description")
    }
}

/// The types of a document, each described once, where `#/components/schemas/…` finds it. A type may look otherwise when it
/// is read than when it is written, so there is one collection of requests and one of replies.
#[derive(Debug)]
pub struct Collection(SchemaGenerator);

/// What the references in a [`Collection`] begin with.
pub const REFERENCE: &str = "#/components/schemas/";

impl Collection {
    /// Of requests.
    pub fn of_requests() -> Self {
        Self::new(SchemaSettings::draft2020_12().for_deserialize())
    }

    /// Of replies.
    pub fn of_replies() -> Self {
        Self::new(SchemaSettings::draft2020_12().for_serialize())
    }

    fn new(settings: SchemaSettings) -> Self {
        let place = |settings: &mut SchemaSettings| settings.definitions_path = "/components/schemas".into();
        Self(settings.with(place).into_generator())
    }

    /// The schema of a type; mostly a reference.
    pub fn add(&mut self, description: Description) -> Value {
        (description.0)(&mut self.0).into()
    }

    /// The types that were referred to, by their names.
    pub fn definitions(mut self) -> Map<String, Value> {
        self.0.take_definitions(true)
    }
}
