//! One operation of an OpenAPI document, part by part.

use serde_json::{Map, Value, json};

/// What a method does at a path.
#[derive(Clone, Debug)]
pub struct Operation {
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Operation {
    /// An operation that needs no token. `id` is what generated clients call it.
    #[must_use]
    pub fn new(id: &str, summary: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("operationId".into(), id.into());
        fields.insert("summary".into(), summary.into());
        // Explicit: nothing is needed.
        fields.insert("security".into(), json!([]));
        Self { fields, parameters: Vec::new(), responses: Map::new() }
    }

    /// It needs a token, by header or by query.
    #[must_use]
    pub fn with_token(mut self) -> Self {
        self.fields.insert("security".into(), json!([{"header": []}, {"query": []}]));
        self.problem(401, "`token_missing`, `token_expired`, `token_forged`, …: get a fresh token")
    }

    /// More about it.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.fields.insert("description".into(), text.into());
        self
    }

    /// Takes a parameter ([`parameter`], or a [`header`]).
    #[must_use]
    pub fn takes(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Takes a body: media type, schema and an example for each.
    #[must_use]
    pub fn body<'a>(mut self, required: bool, forms: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let content: Map<String, Value> = forms.into_iter().map(|(kind, form)| (kind.to_owned(), form)).collect();
        self.fields.insert("requestBody".into(), json!({"required": required, "content": content}));
        self
    }

    /// Answers so. Several media types of one status are given one after the other.
    #[must_use]
    pub fn answers(mut self, status: u16, description: &str, media_type: &str, schema: Value) -> Self {
        let response = self.response(status, description);
        response["content"][media_type] = json!({"schema": schema});
        self
    }

    /// Answers so, without a body.
    #[must_use]
    pub fn answers_empty(mut self, status: u16, description: &str) -> Self {
        self.response(status, description);
        self
    }

    /// The answer of this status has a header.
    #[must_use]
    pub fn with_header(mut self, status: u16, name: &str, header: Value) -> Self {
        self.response(status, "")["headers"][name] = header;
        self
    }

    /// Answers with a problem document of one of these codes.
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

    /// What to ask next with what the answer of this status says.
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

/// A parameter in `path`, `query` or `header`; required in a path.
#[must_use]
pub fn parameter(place: &str, name: &str, description: &str, schema: &Value) -> Value {
    json!({"in": place, "name": name, "required": place == "path", "description": description, "schema": schema})
}

/// The same with an example.
#[must_use]
pub fn example(mut parameter: Value, example: &Value) -> Value {
    parameter["example"] = example.clone();
    parameter
}

/// A header of an answer.
#[must_use]
pub fn header(description: &str, schema: &Value) -> Value {
    json!({"description": description, "schema": schema, "required": true})
}

/// A schema of the document by its name.
#[must_use]
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
