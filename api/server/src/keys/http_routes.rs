//! Which method of the protocol a call over HTTP is, for those who ask who may call it.

use axum::http::Method;

/// Open to everybody: what describes the API, and the pages of gifts, whose links are keys of their own.
const OPEN: &[&str] =
    &["/problems", "/problems/{reason}", "/openapi.json", "/docs", "/docs/", "/docs/{*rest}", "/g/{*rest}"];

/// Verb, path with its gaps, and the path of the method.
#[rustfmt::skip]
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/cluster", "/bosingak.admin.v1.ClusterService/Status"),
    ("GET", "/v1/cluster/late", "/bosingak.admin.v1.ClusterService/ListLate"),
    ("GET", "/v1/forecast", "/bosingak.v1.SchedulerService/Forecast"),
    ("GET", "/v1/namespaces/{namespace}/dead-letters", "/bosingak.v1.DeadLetterService/ListDeadLetters"),
    ("GET", "/v1/namespaces/{namespace}/topics", "/bosingak.v1.TopicService/ListTopics"),
    ("GET", "/v1/namespaces/{namespace}/topics/{name}", "/bosingak.v1.TopicService/GetTopic"),
    ("GET", "/v1/namespaces/{namespace}/triggers", "/bosingak.v1.SchedulerService/List"),
    ("GET", "/v1/namespaces/{namespace}/triggers/{id}", "/bosingak.v1.SchedulerService/Get"),
    ("GET", "/v1/namespaces/{namespace}/watch", "/bosingak.v1.SchedulerService/Watch"),
    ("PATCH", "/v1/namespaces/{namespace}/topics/{name}", "/bosingak.v1.TopicService/UpdateTopic"),
    ("POST", "/v1/namespaces/{namespace}/dead-letters/{id}/drop", "/bosingak.v1.DeadLetterService/DropDeadLetter"),
    ("POST", "/v1/namespaces/{namespace}/dead-letters/{id}/requeue", "/bosingak.v1.DeadLetterService/RequeueDeadLetter"),
    ("POST", "/v1/namespaces/{namespace}/topics/{name}/pause", "/bosingak.v1.TopicService/PauseTopic"),
    ("POST", "/v1/namespaces/{namespace}/topics/{name}/resume", "/bosingak.v1.TopicService/ResumeTopic"),
    ("POST", "/v1/namespaces/{namespace}/triggers", "/bosingak.v1.SchedulerService/Schedule"),
    ("POST", "/v1/namespaces/{namespace}/triggers/{id}/cancel", "/bosingak.v1.SchedulerService/Cancel"),
    ("POST", "/v1/namespaces/{namespace}/triggers/{id}/reschedule", "/bosingak.v1.SchedulerService/Reschedule"),
    ("POST", "/v1/namespaces/{namespace}/triggers/{id}/run-now", "/bosingak.v1.SchedulerService/RunNow"),
    ("GET", "/v1/namespaces/{namespace}/products", "/bosingak.product.v1.ProductService/ListProducts"),
    ("GET", "/v1/namespaces/{namespace}/products/{id}", "/bosingak.product.v1.ProductService/GetProduct"),
    ("PUT", "/v1/namespaces/{namespace}/products/{id}", "/bosingak.product.v1.ProductService/PutProduct"),
    ("GET", "/v1/namespaces/{namespace}/payments/{id}", "/bosingak.payment.v1.PaymentService/GetPayment"),
    ("GET", "/v1/namespaces/{namespace}/reconciliation", "/bosingak.payment.v1.PaymentService/Reconcile"),
    ("GET", "/v1/namespaces/{namespace}/gifts", "/bosingak.gift.v1.GiftService/ListGifts"),
    ("POST", "/v1/namespaces/{namespace}/gifts", "/bosingak.gift.v1.GiftService/Reserve"),
    ("GET", "/v1/namespaces/{namespace}/gifts/{id}", "/bosingak.gift.v1.GiftService/GetGift"),
    ("PATCH", "/v1/namespaces/{namespace}/gifts/{id}", "/bosingak.gift.v1.GiftService/EditGift"),
    ("POST", "/v1/namespaces/{namespace}/gifts/{id}/cancel", "/bosingak.gift.v1.GiftService/CancelGift"),
    ("GET", "/v1/namespaces/{namespace}/gifts/{id}/watch", "/bosingak.gift.v1.GiftService/WatchGift"),
    ("POST", "/v1/namespaces/{namespace}/gifts/{id}/resolve", "/bosingak.gift.v1.GiftService/ResolveGift"),
    ("GET", "/v1/namespaces/{namespace}/attention", "/bosingak.gift.v1.GiftService/ListAttention"),
    ("POST", "/v1/namespaces/{namespace}/links/open", "/bosingak.gift.v1.GiftService/OpenGift"),
    ("POST", "/v1/namespaces/{namespace}/links/accept", "/bosingak.gift.v1.GiftService/AcceptGift"),
    ("POST", "/v1/namespaces/{namespace}/links/transfer", "/bosingak.gift.v1.GiftService/TransferGift"),
    ("POST", "/v1/namespaces/{namespace}/redeem", "/bosingak.gift.v1.GiftService/RedeemGift"),
    ("GET", "/v1/namespaces/{namespace}/gifts/{id}/notifications", "/bosingak.notification.v1.NotificationService/ListNotifications"),
    ("GET", "/v1/namespaces/{namespace}/notifications/{id}", "/bosingak.notification.v1.NotificationService/GetNotification"),
    ("POST", "/v1/namespaces/{namespace}/notifications/{id}/retry", "/bosingak.notification.v1.NotificationService/RetryNotification"),
    ("GET", "/v1/namespaces/{namespace}/shops", "/bosingak.shop.v1.ShopService/ListShops"),
    ("GET", "/v1/namespaces/{namespace}/shops/{id}", "/bosingak.shop.v1.ShopService/GetShop"),
    ("PUT", "/v1/namespaces/{namespace}/shops/{id}", "/bosingak.shop.v1.ShopService/PutShop"),
    ("POST", "/v1/namespaces/{namespace}/shops/{id}/terminals", "/bosingak.shop.v1.ShopService/AddTerminal"),
    ("POST", "/v1/namespaces/{namespace}/shops/{id}/terminals/{terminal}/revoke", "/bosingak.shop.v1.ShopService/RevokeTerminal"),
    ("POST", "/v1/namespaces/{namespace}/shops/{id}/terminals/{terminal}/unlock", "/bosingak.shop.v1.ShopService/UnlockTerminal"),
];

/// Whether anybody may read it.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.iter().any(|pattern| fits(pattern, path))
}

/// Whether a path is one of a pattern: `{name}` stands for one segment, `{*rest}` for all that are left.
fn fits(pattern: &str, path: &str) -> bool {
    let mut path = path.split('/');
    for part in pattern.split('/') {
        if part.starts_with("{*") {
            return path.next().is_some();
        }
        match path.next() {
            Some(found) if part.starts_with('{') && !found.is_empty() || found == part => {}
            _ => return false,
        }
    }
    path.next().is_none()
}

/// The method of a call; `None`: none that is known.
pub(super) fn method_of(verb: &Method, path: &str) -> Option<&'static str> {
    // HEAD is a GET without its body (RFC 9110, section 9.3.2).
    let verb = if verb == Method::HEAD { "GET" } else { verb.as_str() };
    ROUTES.iter().find(|(of, route, _)| *of == verb && fits(route, path)).map(|(_, _, method)| *method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::roles;

    /// Red when a call over HTTP is added and nobody said which method it is.
    #[test]
    fn every_documented_call_is_a_method_or_open() {
        let document = serde_json::to_value(crate::http::document()).expect("JSON");
        let mut calls = 0;
        for (path, item) in document["paths"].as_object().expect("paths") {
            for verb in item.as_object().expect("an item").keys().map(|verb| verb.to_uppercase()) {
                let verb = Method::from_bytes(verb.as_bytes()).expect("a verb");
                assert!(is_open(path) || method_of(&verb, path).is_some(), "{verb} {path}");
                calls += 1;
            }
        }
        assert_eq!(calls, ROUTES.len() + 2, "one that is not there is listed");
        assert!(ROUTES.iter().all(|(_, _, method)| roles::is_known(method)));
        assert!(method_of(&Method::HEAD, "/v1/cluster").is_some());
        assert!(method_of(&Method::DELETE, "/v1/cluster").is_none());
        let get = method_of(&Method::GET, "/v1/namespaces/shop/triggers/a%2Fb");
        assert_eq!(get, Some("/bosingak.v1.SchedulerService/Get"));
        for none in
            ["/v1/namespaces/shop/triggers/", "/v1/namespaces/shop/triggers/a/b", "/v1/namespaces/shop", "v1/cluster"]
        {
            assert_eq!(method_of(&Method::GET, none), None, "{none}");
        }
        assert!(
            is_open("/docs/swagger-ui.css")
                && is_open("/docs/")
                && is_open("/openapi.json")
                && is_open("/problems/TOO_LATE")
        );
        assert!(!is_open("/v1/cluster") && !is_open("/problems/a/b") && !is_open("/"));
    }
}
