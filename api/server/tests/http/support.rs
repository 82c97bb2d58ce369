//! A caller over HTTP/1.1 that believes nothing it is told which the document does not say.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use reqwest::Method;
use serde_json::{Value, json};

// What is shared with the tests of gifts over gRPC asks for it here.
pub use crate::server_support::*;

/// A caller of one node.
pub struct Http {
    pub base: String,
    pub client: reqwest::Client,
    pub document: Value,
}

/// An answer with a body in JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Status and reason of a problem.
    pub fn reason(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.json["status"], self.status, "{self:?}");
        assert_eq!(self.json["requestId"], self.header("x-request-id"), "{self:?}");
        (self.status, self.json["reason"].as_str().expect("a reason"))
    }

    /// Fields a problem is about.
    pub fn fields(&self) -> Vec<&str> {
        self.json["errors"].as_array().expect("a list").iter().map(|one| one["field"].as_str().expect("text")).collect()
    }
}

impl Http {
    pub async fn of(one: &One) -> Http {
        Http::at(&one.server.addresses().client.to_string()).await
    }

    pub async fn at(address: &str) -> Http {
        // Without it a client panics, one that only speaks http:// too. Somebody else may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (base, client) = (format!("http://{address}"), reqwest::Client::new());
        let document = within(client.get(format!("{base}/openapi.json")).send()).await.expect("answered");
        let document = serde_json::from_slice(&within(document.bytes()).await.expect("whole")).expect("JSON");
        Http { base, client, document }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends, and checks the answer against the document.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = within(self.client.execute(request)).await.expect("answered");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = within(response.bytes()).await.expect("whole");
        let json = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{method} {path} {status}: {error}: {:?}", String::from_utf8_lossy(&body)));
        let answer = Answer { status, headers, json };
        assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
        self.check(&method, &path, &answer);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.posting(path, body)).await
    }

    pub fn posting(&self, path: &str, body: Value) -> reqwest::RequestBuilder {
        with_json(self.request(Method::POST, path), body)
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(with_json(self.request(Method::PUT, path), body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(with_json(self.request(Method::PATCH, path), body)).await
    }

    /// The answer is one the document says there is, of the shape it says.
    fn check(&self, method: &Method, path: &str, answer: &Answer) {
        let operation = self.operation(method, path);
        let schema = match operation {
            None => json!({ "$ref": "#/components/schemas/Problem" }),
            Some(operation) => {
                let responses = &operation["responses"];
                let response = responses.get(answer.status.to_string()).unwrap_or(&responses["default"]);
                let kind = answer.header("content-type").split(';').next().unwrap_or_default().to_owned();
                let found = response["content"][&kind]["schema"].clone();
                assert!(found.is_object(), "{method} {path}: {} {kind} is not in the document", answer.status);
                found
            }
        };
        self.check_schema(schema, &answer.json, &format!("{method} {path}"));
    }

    /// A value is what a schema of the document says.
    pub fn check_schema(&self, mut schema: Value, value: &Value, what: &str) {
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} in {value:#}");
    }

    /// What the document says about a path.
    pub fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let paths = self.document["paths"].as_object().expect("paths");
        let matches = |template: &str| {
            let (ours, theirs): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), template.split('/').collect());
            let same = |(our, their): (&&str, &&str)| their.starts_with('{') || our == their;
            ours.len() == theirs.len() && ours.iter().zip(theirs.iter()).all(same)
        };
        let item = paths.iter().find(|(template, _)| matches(template))?.1;
        item.get(method.as_str().to_lowercase())
    }
}

pub fn with_json(request: reqwest::RequestBuilder, body: Value) -> reqwest::RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// A message as the command line prints it: by the protocol's own descriptors, payloads also as text, money as numbers.
pub fn proto_json(name: &str, message: &impl Message) -> Value {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).expect("made by the build");
    let descriptor = pool.get_message_by_name(name).expect(name);
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).expect(name);
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut value = dynamic.serialize_with_options(serde_json::value::Serializer, &options).expect(name);
    adapt(&mut value);
    value
}

/// Where our JSON says more than ProtoJSON, or another thing: payloads also as text, money as numbers.
fn adapt(value: &mut Value) {
    use base64::Engine as _;
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(adapt);
            for (_, won) in object.iter_mut().filter(|(name, _)| name.ends_with("Won")) {
                *won = won.as_str().expect("text").parse::<i64>().expect("a number").into();
            }
            if let Some(text) = object.get("payload").and_then(Value::as_str) {
                let bytes = base64::prelude::BASE64_STANDARD.decode(text).expect("base64");
                if let Ok(text) = String::from_utf8(bytes) {
                    object.insert("payloadText".into(), text.into());
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(adapt),
        _ => {}
    }
}

/// What is sent to schedule something an hour ahead.
pub fn in_an_hour(id: &str) -> Value {
    json!({ "id": id, "topic": "t", "when": { "after": "1h" }, "payloadText": "hello" })
}

pub const TRIGGERS: &str = "/v1/namespaces/default/triggers";
