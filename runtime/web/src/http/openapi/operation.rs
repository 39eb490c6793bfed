//! An operation of an OpenAPI document, built part by part.

use serde_json::{Map, Value, json};

/// One method of one path, with its parameters and responses.
#[derive(Clone, Debug)]
pub struct Operation {
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Operation {
    /// Creates an operation that needs no token. `id` is its name in generated clients.
    #[must_use]
    pub fn new(id: &str, summary: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("operationId".into(), id.into());
        fields.insert("summary".into(), summary.into());
        // An explicit empty list: no security scheme is required.
        fields.insert("security".into(), json!([]));
        Self { fields, parameters: Vec::new(), responses: Map::new() }
    }

    /// Requires a token, in a header or in the query.
    #[must_use]
    pub fn with_token(mut self) -> Self {
        self.fields.insert("security".into(), json!([{"header": []}, {"query": []}]));
        self.problem(401, "`token_missing`, `token_expired`, `token_forged`, …: get a fresh token")
    }

    /// Adds a description.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.fields.insert("description".into(), text.into());
        self
    }

    /// Adds a parameter ([`parameter`], or a [`header`]).
    #[must_use]
    pub fn takes(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Adds the request body: each form is a media type with its schema, and perhaps an example.
    #[must_use]
    pub fn body<'a>(mut self, required: bool, forms: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let content: Map<String, Value> = forms.into_iter().map(|(kind, form)| (kind.to_owned(), form)).collect();
        self.fields.insert("requestBody".into(), json!({"required": required, "content": content}));
        self
    }

    /// Adds a response. For several media types of one status, call this once per media type.
    #[must_use]
    pub fn answers(mut self, status: u16, description: &str, media_type: &str, schema: Value) -> Self {
        let response = self.response(status, description);
        response["content"][media_type] = json!({"schema": schema});
        self
    }

    /// Adds a response without a body.
    #[must_use]
    pub fn answers_empty(mut self, status: u16, description: &str) -> Self {
        self.response(status, description);
        self
    }

    /// Adds a header to the response with this status.
    #[must_use]
    pub fn with_header(mut self, status: u16, name: &str, header: Value) -> Self {
        self.response(status, "")["headers"][name] = header;
        self
    }

    /// Adds a problem document with one of these codes as a response.
    #[must_use]
    pub fn problem(mut self, status: u16, codes: &str) -> Self {
        let response = self.response(status, codes);
        response["content"]["application/problem+json"] = json!({"schema": reference("Problem")});
        match status {
            429 | 503 | 504 => {
                self.with_header(status, "Retry-After", header("Seconds to wait.", &json!({"type": "integer"})))
            }
            _ => self,
        }
    }

    /// Adds a link to the response with this status. The link names an operation that uses a value
    /// of the response.
    #[must_use]
    pub fn link(mut self, status: u16, name: &str, link: Value) -> Self {
        self.response(status, "")["links"][name] = link;
        self
    }

    fn response(&mut self, status: u16, description: &str) -> &mut Value {
        self.responses.entry(status.to_string()).or_insert_with(|| json!({"description": description}))
    }

    pub(super) fn into_value(mut self) -> Value {
        if !self.parameters.is_empty() {
            self.fields.insert("parameters".into(), self.parameters.into());
        }
        self.fields.insert("responses".into(), self.responses.into());
        self.fields.into()
    }
}

/// A parameter of an operation. `place` is `path`, `query` or `header`; a parameter in the path is
/// required.
#[must_use]
pub fn parameter(place: &str, name: &str, description: &str, schema: &Value) -> Value {
    json!({"in": place, "name": name, "required": place == "path", "description": description, "schema": schema})
}

/// Adds an example to a parameter.
#[must_use]
pub fn example(mut parameter: Value, example: &Value) -> Value {
    parameter["example"] = example.clone();
    parameter
}

/// A response header.
#[must_use]
pub fn header(description: &str, schema: &Value) -> Value {
    json!({"description": description, "schema": schema, "required": true})
}

/// A reference to a schema of the document.
#[must_use]
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
