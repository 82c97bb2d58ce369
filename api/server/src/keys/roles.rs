//! What each role may call. What is not listed is allowed to nobody but operators and nodes; a test knows every method there is.

use serde::Deserialize;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything: runs the cluster, and decides what waits for a human.
    Operator,
    /// A business: schedules, cancels, reserves, asks.
    Service,
    /// Does the work.
    Executor,
    /// Takes codes of gifts.
    Shop,
    /// Reads what is about no person: states, counts, topics.
    Reader,
    /// Another node of the cluster, which asked its own caller already.
    Node,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Service => "service",
            Role::Executor => "executor",
            Role::Shop => "shop",
            Role::Reader => "reader",
            Role::Node => "node",
        }
    }

    /// Whether it may call a method, by its path `/package.Service/Method`.
    pub(crate) fn may_call(self, path: &str) -> bool {
        if matches!(self, Role::Operator | Role::Node) {
            return true;
        }
        allowed(path).is_some_and(|roles| roles.contains(&self))
    }
}

use Role::{Executor, Reader, Service, Shop};

const ALL: &[Role] = &[Service, Executor, Shop, Reader];
const OPERATORS_ONLY: &[Role] = &[];
const SERVICE: &[Role] = &[Service];
const READ: &[Role] = &[Service, Reader];
const EXECUTOR: &[Role] = &[Executor];

/// The methods of a service, each with the roles that may call it.
type Rows = (&'static str, &'static [(&'static str, &'static [Role])]);

/// Who may call which method beside operators and nodes.
#[rustfmt::skip]
const METHODS: &[Rows] = &[
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", ALL)]),
    ("bosingak.v1.SchedulerService", &[
        ("Schedule", SERVICE), ("BatchSchedule", SERVICE), ("ScheduleStream", SERVICE), ("Cancel", SERVICE),
        ("BatchCancel", SERVICE), ("Reschedule", SERVICE), ("RunNow", SERVICE), ("Get", SERVICE), ("List", SERVICE),
        ("Watch", SERVICE), ("Forecast", READ),
    ]),
    ("bosingak.v1.TopicService", &[
        ("GetTopic", READ), ("ListTopics", READ), ("UpdateTopic", SERVICE), ("PauseTopic", SERVICE), ("ResumeTopic", SERVICE),
    ]),
    ("bosingak.v1.DeadLetterService", &[
        ("ListDeadLetters", SERVICE), ("RequeueDeadLetter", SERVICE), ("DropDeadLetter", SERVICE),
    ]),
    ("bosingak.v1.ExecutorService", &[("Work", EXECUTOR), ("Poll", EXECUTOR), ("Complete", EXECUTOR), ("Leaders", ALL)]),
    ("bosingak.admin.v1.ClusterService", &[
        ("Status", READ), ("ListLate", READ), ("TransferLeader", OPERATORS_ONLY), ("AddNode", OPERATORS_ONLY),
        ("RemoveNode", OPERATORS_ONLY), ("DrainNode", OPERATORS_ONLY), ("AcceptClock", OPERATORS_ONLY),
        ("AdvanceClock", OPERATORS_ONLY),
    ]),
    ("bosingak.product.v1.ProductService", &[("PutProduct", SERVICE), ("GetProduct", READ), ("ListProducts", READ)]),
    ("bosingak.gift.v1.GiftService", &[
        ("Reserve", SERVICE), ("GetGift", SERVICE), ("ListGifts", SERVICE), ("EditGift", SERVICE), ("CancelGift", SERVICE),
        ("WatchGift", SERVICE), ("OpenGift", SERVICE), ("AcceptGift", SERVICE), ("TransferGift", SERVICE),
        ("RedeemGift", &[Service, Shop]), ("ListAttention", OPERATORS_ONLY), ("ResolveGift", OPERATORS_ONLY),
    ]),
    ("bosingak.gift.v1.GiftDeliveryService", &[("BeginSend", EXECUTOR), ("GetLink", EXECUTOR)]),
    ("bosingak.notification.v1.NotificationService", &[
        ("ListNotifications", SERVICE), ("GetNotification", SERVICE), ("RetryNotification", SERVICE),
    ]),
    ("bosingak.shop.v1.ShopService", &[
        ("PutShop", SERVICE), ("GetShop", READ), ("ListShops", READ), ("AddTerminal", SERVICE), ("RevokeTerminal", SERVICE),
        ("UnlockTerminal", OPERATORS_ONLY),
    ]),
    ("bosingak.payment.v1.PaymentService", &[("GetPayment", SERVICE), ("Reconcile", READ)]),
];

/// The roles that may call a method; `None`: it is not known.
fn allowed(path: &str) -> Option<&'static [Role]> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = METHODS.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, roles)| *roles)
}

/// Whether the method exists, as far as this table knows.
#[cfg(test)]
pub(super) fn is_known(path: &str) -> bool {
    allowed(path).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;

    /// Red when a method is added and nobody said who may call it, or one is listed that is not there.
    #[test]
    fn every_method_has_its_roles() {
        let set = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).expect("descriptors");
        let mut there = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    there.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let ours = METHODS.iter().filter(|(service, _)| service.starts_with("bosingak."));
        let listed: BTreeSet<String> = ours
            .flat_map(|(service, methods)| methods.iter().map(move |(method, _)| format!("/{service}/{method}")))
            .collect();
        assert_eq!(there, listed);
        assert!(there.len() > 40, "{there:?}");
    }

    #[test]
    fn roles_may_do_their_own() {
        let cases = [
            (Role::Operator, "/bosingak.admin.v1.ClusterService/AddNode", true),
            (Role::Service, "/bosingak.admin.v1.ClusterService/AddNode", false),
            (Role::Service, "/bosingak.gift.v1.GiftService/Reserve", true),
            (Role::Executor, "/bosingak.gift.v1.GiftService/Reserve", false),
            (Role::Executor, "/bosingak.gift.v1.GiftDeliveryService/BeginSend", true),
            (Role::Service, "/bosingak.gift.v1.GiftDeliveryService/GetLink", false),
            (Role::Shop, "/bosingak.gift.v1.GiftService/RedeemGift", true),
            (Role::Shop, "/bosingak.gift.v1.GiftService/GetGift", false),
            (Role::Reader, "/bosingak.v1.SchedulerService/Forecast", true),
            (Role::Reader, "/bosingak.v1.SchedulerService/Get", false),
            (Role::Service, "/bosingak.v1.SchedulerService/NoSuch", false),
            (Role::Service, "bosingak.v1.SchedulerService/Schedule", false),
            (Role::Node, "/bosingak.gift.v1.GiftService/ResolveGift", true),
        ];
        for (role, path, may) in cases {
            assert_eq!(role.may_call(path), may, "{} {path}", role.name());
        }
    }
}
