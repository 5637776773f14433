//! The description's schemas are literally those that plans are validated with.

use serde_json::{Map, Value};
use stowage_storage::DRIVERS;

use super::DESCRIPTION;

/// Name and text of the schemas shared by all storages, and of those for runs; each driver has its own.
const FILES: [(&str, &str); 5] = [
    ("connection", include_str!("../../../src/admin/api/schema/schemas/connection.json")),
    ("defs", include_str!("../../../src/admin/api/schema/schemas/defs.json")),
    ("migration", include_str!("../../../src/admin/api/schema/schemas/migration.json")),
    ("storage", include_str!("../../../src/admin/api/schema/schemas/storage.json")),
    ("verification", include_str!("../../../src/admin/api/schema/schemas/verification.json")),
];

/// Converts a schema's references to those in the description.
fn moved(schema: &Value) -> Value {
    let text = schema.to_string().replace("#/$defs/", "#/components/schemas/");
    serde_json::from_str(&text).expect("JSON")
}

/// Returns every schema of the server under its name in the description.
fn schemas() -> Map<String, Value> {
    let mut found = Map::new();
    let drivers = DRIVERS.iter().map(|driver| (driver.handler, driver.schema));
    for (name, text) in drivers.chain(FILES) {
        let mut schema: Map<String, Value> = serde_json::from_str(text).expect("a schema");
        if name == "defs" {
            found.extend(schema);
            continue;
        }
        if let Some(Value::Object(own)) = schema.remove("$defs") {
            found.extend(own);
        }
        found.insert(name.to_owned(), Value::Object(schema));
    }
    found
}

#[test]
fn the_schemas_are_the_servers() {
    let description: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let described = &description["components"]["schemas"];
    for (name, schema) in schemas() {
        let schema = moved(&schema);
        assert_eq!(described[&name], schema, "components.schemas.{name} of docs/openapi.json has to be {schema}");
    }
}

#[test]
fn every_schema_file_is_looked_at() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/api/schema/schemas");
    let names = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().replace(".json", "")).collect();
    names.sort();
    assert_eq!(names, FILES.map(|(name, _)| name));
}

/// The handler selects a storage's schema: all handlers are listed, and no other.
#[test]
fn every_handler_is_described() {
    let description: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let choices = description["components"]["schemas"]["attachment"]["oneOf"].as_array().expect("a list");
    let mut described: Vec<&str> = Vec::new();
    for choice in choices {
        let handler = choice["properties"]["handler"]["const"].as_str().expect("a handler");
        assert_eq!(choice["allOf"][0]["$ref"], format!("#/components/schemas/{handler}"));
        described.push(handler);
    }
    let mut handlers: Vec<&str> = DRIVERS.iter().map(|driver| driver.handler).collect();
    handlers.sort_unstable();
    assert_eq!(described, handlers);
}

/// Not every tool reports dangling `$ref`s.
#[test]
fn every_reference_leads_somewhere() {
    let description: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let mut count = 0;
    for rest in DESCRIPTION.split(r##""$ref": "#"##).skip(1) {
        let pointer = rest.split('"').next().expect("an end");
        assert!(description.pointer(pointer).is_some(), "{pointer}");
        count += 1;
    }
    assert!(count > 100);
}
