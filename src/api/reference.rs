//! `docs/api-reference.md`, generated from the schemas and the reasons.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::{
    ConditionType, NETWORK_RESTORED, ON_UNSUPPORTED, RELEASE, RESTORE_FROM, ROUTE_PROTOCOL, Reason,
    RestoreReason, StorageReason, TRAFFIC,
};

/// The whole document, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for definition in super::definitions() {
        kind(&mut text, &definition);
    }
    conditions(&mut text);
    pods(&mut text);
    text
}

const INTRODUCTION: &str = "\
# API reference

Generated from the Rust types in `src/api`; a test fails when it drifts. The same text is at hand with
`kubectl explain netcheckpoint`, `kubectl explain netcheckpointstorage` and `kubectl explain podroute`.

Group and version: `netckpt.io/v1alpha1`.
";

fn kind(text: &mut String, definition: &CustomResourceDefinition) {
    let names = &definition.spec.names;
    let short = names.short_names.iter().flatten().map(|name| format!("`{name}`"));
    let categories = names.categories.iter().flatten().map(|name| format!("`{name}`"));
    line(text, &format!("\n## {}\n", names.kind));
    let version = &definition.spec.versions[0];
    let Some(schema) = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()) else {
        return;
    };
    line(text, &described(schema));
    line(text, "");
    line(text, &format!("- Scope: {}", definition.spec.scope.to_lowercase()));
    line(text, &format!("- Short name: {}", joined(short)));
    line(text, &format!("- Categories: {}", joined(categories)));
    let selectable = version.selectable_fields.iter().flatten();
    let selectable =
        joined(selectable.map(|f| format!("`{}`", f.json_path.trim_start_matches('.'))));
    if !selectable.is_empty() {
        line(
            text,
            &format!("- Field selectors: {selectable} (`status.nodeName=` matches the unclaimed)"),
        );
    }
    for part in ["spec", "status"] {
        let Some(schema) = schema.properties.iter().flatten().find(|(name, _)| *name == part)
        else {
            continue;
        };
        line(text, &format!("\n### {}: {part}\n\n{}\n", names.kind, described(schema.1)));
        line(text, "| field | type | default | meaning |\n|---|---|---|---|");
        fields(text, part, schema.1);
        let mut rules = Vec::new();
        collect_rules(part, schema.1, &mut rules);
        if !rules.is_empty() {
            line(text, "\nRules, and what the API server says when one is broken:\n");
            line(text, "| field | rule | message |\n|---|---|---|");
            for [path, rule, message] in rules {
                line(text, &format!("| `{path}` | `{}` | {} |", cell(&rule), cell(&message)));
            }
        }
    }
}

/// A row for each field below, in the order of their names, those of nested objects after their own.
fn fields(text: &mut String, path: &str, schema: &JSONSchemaProps) {
    for (name, field) in schema.properties.iter().flatten() {
        let required = schema.required.iter().flatten().any(|required| required == name);
        let path = format!("{path}.{name}");
        let default = match &field.default {
            Some(default) => format!("`{}`", default.0.to_string().trim_matches('"')),
            None if required => "required".to_owned(),
            None => String::new(),
        };
        let row =
            format!("| `{path}` | {} | {default} | {} |", type_of(field), cell(&described(field)));
        line(text, &row);
        // Conditions are Kubernetes' own type.
        if name != "conditions" {
            fields(text, &path, field);
            if let Some(items) = items(field) {
                fields(text, &format!("{path}[]"), items);
            }
        }
    }
}

/// Type with its bounds, as a person says it.
fn type_of(schema: &JSONSchemaProps) -> String {
    if let Some(values) = &schema.enum_ {
        return joined(
            values.iter().map(|value| format!("`{}`", value.0.to_string().trim_matches('"'))),
        )
        .replace(", ", " or ");
    }
    let kind = schema.type_.as_deref().unwrap_or("any");
    let mut kind = match (kind, items(schema), &schema.additional_properties) {
        ("array", Some(items), _) => match &schema.x_kubernetes_list_map_keys {
            Some(keys) => format!("list of {}, by `{}`", type_of(items), keys.join("`, `")),
            None => format!("list of {}", type_of(items)),
        },
        ("object", _, Some(JSONSchemaPropsOrBool::Schema(values))) => {
            format!("map to {}", type_of(values))
        }
        ("string", ..) if schema.format.as_deref() == Some("date-time") => "time".to_owned(),
        _ => kind.to_owned(),
    };
    let bounds = [
        bound("at least", schema.minimum, ""),
        bound("at most", schema.maximum, ""),
        bound("at most", schema.max_length.filter(|_| schema.enum_.is_none()), " characters"),
        bound("at most", schema.max_items, " entries"),
        schema.pattern.as_ref().map(|pattern| format!("matches `{}`", cell(pattern))),
    ];
    for bound in bounds.into_iter().flatten() {
        kind.push_str(", ");
        kind.push_str(&bound);
    }
    kind
}

fn bound(word: &str, value: Option<impl std::fmt::Display>, unit: &str) -> Option<String> {
    value.map(|value| format!("{word} {value}{unit}"))
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

/// Path, rule and message of every rule below, outer ones first.
fn collect_rules(path: &str, schema: &JSONSchemaProps, into: &mut Vec<[String; 3]>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let message = rule.message.clone().unwrap_or_default();
        into.push([path.to_owned(), rule.rule.clone(), message]);
    }
    for (name, field) in schema.properties.iter().flatten() {
        collect_rules(&format!("{path}.{name}"), field, into);
        if let Some(items) = items(field) {
            collect_rules(&format!("{path}.{name}[]"), items, into);
        }
    }
}

fn conditions(text: &mut String) {
    line(text, "\n## Conditions of a NetCheckpoint\n");
    line(text, "| type | True means |\n|---|---|");
    for condition in ConditionType::ALL {
        line(text, &format!("| `{condition}` | {} |", condition.meaning()));
    }
    line(
        text,
        "\nReasons, the same words in conditions, events and metrics. A checkpoint whose `Ready` is\n\
        False for a reason marked *ended* is not tried again; its pod goes on undisturbed.\n",
    );
    line(text, "| reason | ended | meaning | what to do |\n|---|---|---|---|");
    for reason in Reason::ALL {
        let ended = if reason.is_failure() { "ended" } else { "" };
        let row = format!("| `{reason}` | {ended} | {} | {} |", reason.meaning(), reason.advice());
        line(text, &row);
    }
    line(text, "\n## Condition Ready of a NetCheckpointStorage\n");
    line(text, "| reason | meaning | what to do |\n|---|---|---|");
    for reason in StorageReason::ALL {
        line(text, &format!("| `{reason}` | {} | {} |", reason.meaning(), reason.advice()));
    }
}

fn pods(text: &mut String) {
    line(text, "\n## Pods\n");
    line(
        text,
        &format!(
            "| annotation | value | meaning |\n|---|---|---|\n\
            | `{RESTORE_FROM}` | name of a NetCheckpoint of the pod's namespace | The pod gets that \
            network before its first container is created, or does not start. |\n\
            | `{ON_UNSUPPORTED}` | `Fail` (default) or `Report` | Whether the pod may start without \
            what the checkpoint names as not carried and what changes how the network behaves. |\n\
            | `{TRAFFIC}` | `Held` | The pod waits, silent, also when its source is not held yet, and speaks \
            once it has taken over from it. |\n\
            | `{RELEASE}` | `Started` (default), `Manual` or `Live` | When a pod that takes over from a held \
            source is live, where CRIU does not restore it: with its containers; when somebody says so, by \
            `Live` in the place of `Manual` or by `netckpt release` on its node; now. |\n"
        ),
    );
    line(
        text,
        &format!(
            "The result is the pod's condition `{NETWORK_RESTORED}`, an entry of the NetCheckpoint's\n\
            `status.restores`, and events on both. Reasons:\n"
        ),
    );
    line(text, "| reason | meaning | what to do |\n|---|---|---|");
    for reason in RestoreReason::ALL {
        line(text, &format!("| `{reason}` | {} | {} |", reason.meaning(), reason.advice()));
    }
    line(
        text,
        &format!(
            "\nRoutes that agents make on nodes have the protocol number {ROUTE_PROTOCOL} \
            (`ip route show proto {ROUTE_PROTOCOL}`)."
        ),
    );
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// The description on one line.
fn described(schema: &JSONSchemaProps) -> String {
    schema.description.as_deref().unwrap_or_default().replace('\n', " ")
}

/// Text that fits a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
