//! A connection to a node, on which every call shows the API key.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::error::Error;

/// What calls go out on.
pub(crate) type Connection = InterceptedService<Channel, ApiKey>;

/// What shows the server who calls; see `api.keys_file` of the server. Shows nothing of itself.
#[derive(Clone, Default)]
pub(crate) struct ApiKey(Option<MetadataValue<Ascii>>);

impl ApiKey {
    /// From `ID.SECRET`.
    pub(crate) fn new(text: &str) -> Result<ApiKey, Error> {
        let invalid = || Error::invalid("api_key", "expected ID.SECRET");
        let text = text.trim();
        let (id, secret) = text.split_once('.').ok_or_else(invalid)?;
        if id.is_empty() || secret.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid());
        }
        let mut value = MetadataValue::try_from(format!("Bearer {text}")).map_err(|_| invalid())?;
        value.set_sensitive(true);
        Ok(ApiKey(Some(value)))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ApiKey" } else { "NoApiKey" })
    }
}

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_and_never_printed() {
        let mut key = ApiKey::new(" orders.s3cret\n").expect("a key");
        assert!(!format!("{key:?}").contains("s3cret"));
        let request = key.call(Request::new(())).expect("sent");
        let shown = request.metadata().get("authorization").expect("shown");
        assert_eq!(shown, "Bearer orders.s3cret");
        assert!(shown.is_sensitive());
        assert!(ApiKey::default().call(Request::new(())).expect("sent").metadata().is_empty());
        for wrong in ["", "orders", ".s3cret", "orders.", "orders.s3 cret", "주문.비밀"] {
            let error = ApiKey::new(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("api_key: ") && !error.contains("s3"), "{error}");
        }
    }
}
