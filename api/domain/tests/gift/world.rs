//! One partition, its time, and whoever works for it: the tests play executors, providers, shops and the node.

use bytes::Bytes;
use domain::gift::{self, BeginSend, Draw, Gift, Party, Reserve, Secret, SendWork, Sent, State, Turn};
use domain::ledger::{Report, report};
use domain::payment::{
    self, Ask, Outcome, PayWork, Payment, RefundOutcome, RefundState, RefundWork, Settle, SettleRefund,
};
use domain::product::Product;
use domain::triggers::{self, Purpose};
use domain::{Command, Domains, Kind, Refusal, Reply};
use prost::Message;
use scheduler::command::{Command as Stored, Kind as Asked, Report as Reported};
use scheduler::command::{Complete, Entry, Fail, Retry, Token};
use scheduler::lane::{Class, LaneId, Position};
use scheduler::machine::{Applied, Halt, Machine};
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read::{self, ListQuery, TriggerView};
use scheduler::reply::{Outcome as Ended, Refusal as Refused, Reply as Answer};
use scheduler::time::Timestamp;

use crate::invariants;

pub const SHOP: &str = "shop";
pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;
pub const PRICE: u64 = 4_500;
/// 2027-01-15T08:00:00Z.
pub const START: u64 = 1_800_000_000_000;

/// A fired trigger, as an executor gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    pub id: String,
    pub topic: String,
    pub payload: Bytes,
    pub generation: u64,
    /// Counted from 1.
    pub attempt: u32,
}

impl Work {
    pub fn purpose(&self) -> Purpose {
        triggers::parse(&self.id).expect("a trigger of a gift").purpose
    }

    /// The round it is told to send in.
    pub fn round(&self) -> u32 {
        SendWork::decode(self.payload.clone()).expect("work").round
    }
}

/// A partition.
pub struct World {
    pub machine: Machine<Domains>,
    pub store: MemoryStore,
    pub now: u64,
    pub log: Vec<Bytes>,
    drawn: u64,
}

impl Default for World {
    fn default() -> Self {
        World { machine: Machine::new(Domains), store: MemoryStore::default(), now: START, log: Vec::new(), drawn: 0 }
    }
}

pub fn encoded(kind: Kind) -> Bytes {
    Command { kind: Some(kind) }.encode_to_vec().into()
}

pub fn business(kind: Kind) -> Asked {
    Asked::Business(scheduler::command::Business { namespace: SHOP.into(), body: encoded(kind) })
}

/// A request id.
pub fn request(number: u8) -> Bytes {
    Bytes::from(vec![number; 16])
}

impl World {
    /// Applies the next entry, or tells why the replica halts.
    pub fn try_entry(&mut self, commands: Vec<Asked>) -> Result<Applied, Halt> {
        let commands = commands.into_iter().map(|kind| Stored { kind: Some(kind) }).collect();
        let entry = Bytes::from(Entry { time: self.now, commands, level: 1 }.encode_to_vec());
        let index = self.machine.applied() + 1;
        let mut overlay = Overlay::new(&self.store);
        let applied = self.machine.apply(index, entry.clone(), &mut overlay)?;
        let writes = overlay.into_writes();
        let before = self.store.clone();
        self.store.write(writes);
        self.log.push(entry);
        invariants::check(&before, &self.store, self.now, applied.replies.len());
        Ok(applied)
    }

    pub fn entry(&mut self, commands: Vec<Asked>) -> Vec<Answer> {
        self.try_entry(commands).expect("no entry of these tests halts").replies
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.entry(Vec::new());
    }

    /// Time passes up to this moment.
    pub fn pass_to(&mut self, moment: u64) {
        assert!(moment >= self.now, "time does not run backwards");
        self.pass(moment - self.now);
    }

    /// A command of its own entry.
    pub fn ask(&mut self, kind: Kind) -> Result<Reply, Refusal> {
        match self.entry(vec![business(kind)]).remove(0) {
            Answer::Business(body) => Ok(Reply::decode(body).expect("a reply")),
            Answer::Refused(Refused::Business(body)) => Err(Refusal::decode(body).expect("a refusal")),
            other => panic!("answered {other:?}"),
        }
    }

    /// What operators are to be told about shops, when it has fired.
    pub fn alerts(&self) -> Vec<domain::notification::Notice> {
        let (alerts, _) = self.everything_fired().into_iter().partition::<Vec<_>, _>(|work| is_of_shop(&work.id));
        alerts.into_iter().map(|work| Message::decode(work.payload).expect("a notice")).collect()
    }

    /// Everything that has fired and is not done, but news.
    pub fn fired(&self) -> Vec<Work> {
        self.all_fired().into_iter().filter(|work| work.purpose() != Purpose::Notify).collect()
    }

    /// News that nobody has been told.
    pub fn news(&self) -> Vec<domain::notification::Notice> {
        let notices = self.all_fired().into_iter().filter(|work| work.purpose() == Purpose::Notify);
        notices.map(|work| Message::decode(work.payload).expect("a notice")).collect()
    }

    /// The trigger of the one piece of news that nobody has been told.
    pub fn notify(&self) -> Work {
        let mut found: Vec<Work> =
            self.all_fired().into_iter().filter(|work| work.purpose() == Purpose::Notify).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    pub fn notifications(&self, id: &str) -> Vec<domain::notification::Notification> {
        domain::notification::list(&self.store, SHOP, id).expect("read")
    }

    /// The kinds of news since this was last asked, in order; all of them are told.
    pub fn told(&mut self) -> Vec<domain::notification::News> {
        let works: Vec<Work> = self.all_fired().into_iter().filter(|work| work.purpose() == Purpose::Notify).collect();
        let mut news = Vec::new();
        for work in works {
            let notice: domain::notification::Notice = Message::decode(work.payload.clone()).expect("a notice");
            news.push(notice.news());
            self.done(&work, None);
        }
        news
    }

    /// Everything about gifts that has fired and is not done.
    pub fn all_fired(&self) -> Vec<Work> {
        self.everything_fired().into_iter().filter(|work| !is_of_shop(&work.id)).collect()
    }

    fn everything_fired(&self) -> Vec<Work> {
        let mut found = Vec::new();
        for topic in read::topics(&self.store).expect("read") {
            for class in [Class::High, Class::Normal, Class::Low, Class::Retry] {
                let lane = LaneId::new(topic.id, class);
                let end = Position::end_of(Timestamp::MAX);
                let rows = read::due_rows(&self.store, lane, Position::MIN, end, 10_000, 1 << 26).expect("read");
                found.extend(rows.rows.into_iter().map(|row| Work {
                    id: row.id,
                    topic: topic.name.clone(),
                    payload: row.trigger.payload,
                    generation: row.position.generation.number(),
                    attempt: row.attempt + 1,
                }));
            }
        }
        found
    }

    /// Triggers that have not ended.
    pub fn live(&self) -> Vec<TriggerView> {
        invariants::live(&self.store)
    }

    /// The one trigger of this purpose that has fired.
    pub fn work(&self, purpose: Purpose) -> Work {
        let mut found: Vec<Work> = self.fired().into_iter().filter(|work| work.purpose() == purpose).collect();
        assert_eq!(found.len(), 1, "{purpose:?}: {found:?}, live are {:?}", self.live_ids());
        found.remove(0)
    }

    pub fn live_ids(&self) -> Vec<(String, u64)> {
        self.live().into_iter().map(|view| (view.id, view.due.as_millis())).collect()
    }

    /// Passes time until a trigger of this purpose fires; the one.
    pub fn wait_for(&mut self, purpose: Purpose) -> Work {
        let of = |view: &TriggerView| triggers::parse(&view.id).is_some_and(|named| named.purpose == purpose);
        let due = self.live().iter().filter(|view| of(view)).map(|view| view.retry_at.unwrap_or(view.due)).min();
        let due = due.unwrap_or_else(|| panic!("no {purpose:?} among {:?}", self.live_ids()));
        self.pass_to(self.now.max(due.as_millis()));
        self.work(purpose)
    }

    fn reported(work: &Work) -> Option<Reported> {
        Some(Reported {
            namespace: SHOP.into(),
            id: work.id.clone(),
            generation: work.generation,
            token: Some(Token { epoch: 1, term: 1, counter: work.generation + u64::from(work.attempt) }),
            attempt: work.attempt,
            executor: "e-1".into(),
        })
    }

    /// An executor has done it, and says what came of it.
    pub fn done(&mut self, work: &Work, what: Option<Kind>) -> Answer {
        let business = what.map(encoded).unwrap_or_default();
        self.entry(vec![Asked::Complete(Complete { report: World::reported(work), business })]).remove(0)
    }

    /// An executor died over it.
    pub fn died(&mut self, work: &Work) -> Answer {
        let retry = Retry { report: World::reported(work), lease_expired: true, ..Retry::default() };
        self.entry(vec![Asked::Retry(retry)]).remove(0)
    }

    /// Nobody can do it.
    pub fn failed(&mut self, work: &Work) -> Answer {
        self.entry(vec![fail(work)]).remove(0)
    }

    /// Executors die over every attempt at a trigger of this purpose, until it is a dead letter.
    pub fn all_die(&mut self, purpose: Purpose) {
        loop {
            let work = self.wait_for(purpose);
            match self.died(&work) {
                Answer::Decided(receipt) if receipt.outcome == Ended::DeadLettered => return,
                Answer::Decided(_) => {}
                other => panic!("answered {other:?}"),
            }
        }
    }

    /// The node runs a trigger of the internal topic: its payload is the command.
    pub fn run_internal(&mut self, work: &Work) -> Answer {
        assert_eq!(work.topic, triggers::INTERNAL);
        let command = Command::decode(work.payload.clone()).expect("a command");
        self.done(work, command.kind)
    }

    pub fn gift(&self, id: &str) -> Gift {
        gift::get(&self.store, SHOP, id).expect("read").unwrap_or_else(|| panic!("no gift {id}"))
    }

    pub fn is_there(&self, id: &str) -> bool {
        gift::get(&self.store, SHOP, id).expect("read").is_some()
    }

    pub fn state(&self, id: &str) -> State {
        self.gift(id).state()
    }

    pub fn payment(&self, id: &str) -> Payment {
        payment::get(&self.store, SHOP, id).expect("read").unwrap_or_else(|| panic!("no payment {id}"))
    }

    pub fn report(&self) -> Report {
        report(&self.store, SHOP, Timestamp::from_millis(self.now)).expect("read")
    }

    /// Held, in transit, delivered, refunded.
    pub fn money(&self) -> [i64; 4] {
        let report = self.report();
        [report.held, report.in_transit, report.delivered, report.refunded]
    }

    /// A link and a code that nobody has.
    pub fn draw(&mut self) -> Draw {
        self.drawn += 1;
        draw(self.drawn)
    }

    /// Reserved, for a day from now; not paid yet.
    pub fn reserved(&mut self, id: &str) -> u64 {
        let command = self.reserve(id);
        let send_at = command.send_at;
        self.ask(Kind::Reserve(command)).expect("reserved");
        send_at
    }

    pub fn reserve(&self, id: &str) -> Reserve {
        reserve(id, self.now + DAY)
    }

    /// The provider said something about the payment.
    pub fn provider(&mut self, purpose: Purpose, outcome: Outcome, won: u64) -> Answer {
        let work = self.wait_for(purpose);
        let pay = PayWork::decode(work.payload.clone()).expect("work");
        self.done(&work, Some(settle(&pay.payment, outcome, won)))
    }

    /// Reserved and paid.
    pub fn paid(&mut self, id: &str) -> u64 {
        let send_at = self.reserved(id);
        self.provider(Purpose::Pay, Outcome::Captured, PRICE);
        assert_eq!(self.state(id), State::Reserved);
        send_at
    }

    /// An executor asks for its turn.
    pub fn begin(&mut self, id: &str, round: u32) -> Turn {
        let command = self.begin_send(id, round);
        self.ask(Kind::BeginSend(command)).expect("a turn").turn.expect("a turn")
    }

    pub fn begin_send(&mut self, id: &str, round: u32) -> BeginSend {
        let (expires_at, draw) = (self.now + 30 * DAY, Some(self.draw()));
        let remind_at = vec![expires_at - 3 * DAY, expires_at - DAY];
        BeginSend { gift: id.into(), round, draw, expires_at, remind_at, ..BeginSend::default() }
    }

    /// Reserved, paid and sent.
    pub fn sent(&mut self, id: &str) {
        let send_at = self.paid(id);
        self.pass_to(send_at);
        let work = self.work(Purpose::Send);
        let turn = self.begin(id, work.round());
        self.done(&work, Some(sent(id, work.round(), turn.channel)));
        assert_eq!(self.state(id), State::Sent);
    }

    /// Hash of the link that is the gift's now.
    pub fn link(&self, id: &str) -> Bytes {
        self.gift(id).draw.and_then(|draw| draw.link).expect("a link").hash
    }

    /// Hash of the code that is the gift's now.
    pub fn code(&self, id: &str) -> Bytes {
        self.gift(id).draw.and_then(|draw| draw.code).expect("a code").hash
    }

    pub fn accepted(&mut self, id: &str) {
        self.sent(id);
        let link = self.link(id);
        self.ask(Kind::Accept(gift::Accept { link, request: Bytes::new() })).expect("accepted");
    }

    /// The provider gives the money back, or does not.
    pub fn refund(&mut self, id: &str, outcome: RefundOutcome) {
        let work = self.wait_for(Purpose::Refund);
        let told = RefundWork::decode(work.payload.clone()).expect("work");
        assert_eq!((told.payment.as_str(), told.amount_won), (id, self.payment(id).captured_won));
        assert_eq!(self.payment(id).refund(), RefundState::Requested);
        self.done(&work, Some(settle_refund(id, outcome)));
    }
}

fn is_of_shop(id: &str) -> bool {
    id.starts_with("bosingak.shop.")
}

pub fn fail(work: &Work) -> Asked {
    Asked::Fail(Fail { report: World::reported(work), error: "it cannot be done".into() })
}

pub fn settle(id: &str, outcome: Outcome, captured_won: u64) -> Kind {
    Kind::SettlePayment(Settle {
        payment: id.into(),
        outcome: outcome.into(),
        captured_won,
        method: "CARD".into(),
        error: if outcome == Outcome::Captured { String::new() } else { "said the provider".into() },
    })
}

/// What came of telling news.
pub fn told(work: &Work, channel: i32, told: bool) -> Kind {
    let named = triggers::parse(&work.id).expect("a trigger of a gift");
    let provider_id = if told { "m-1".into() } else { String::new() };
    let (gift, number) = (named.gift, named.number);
    Kind::Told(domain::notification::Told { gift, number, channel, provider_id, moot: !told })
}

pub fn settle_refund(id: &str, outcome: RefundOutcome) -> Kind {
    Kind::SettleRefund(SettleRefund { payment: id.into(), outcome: outcome.into(), error: "said the provider".into() })
}

pub fn sent(id: &str, round: u32, channel: i32) -> Kind {
    Kind::Sent(Sent { gift: id.into(), round, channel, provider_id: "m-1".into() })
}

pub fn draw(number: u64) -> Draw {
    let secret = |kind: u8| Secret {
        hash: [vec![kind; 24], number.to_be_bytes().to_vec()].concat().into(),
        sealed: vec![kind; 48].into(),
    };
    Draw { link: Some(secret(1)), code: Some(secret(2)) }
}

pub fn friend() -> Party {
    Party {
        name: "민지".into(),
        phone: "+821012345678".into(),
        email: "minji@example.com".into(),
        zone: "Asia/Seoul".into(),
        language: "ko".into(),
        ..Party::default()
    }
}

pub fn sender() -> Party {
    Party { id: "kim".into(), name: "Kim".into(), push_token: "p-1".into(), ..friend() }
}

pub fn coffee() -> Product {
    Product {
        id: "coffee".into(),
        version: 3,
        name: "아메리카노".into(),
        brand: "Bell Coffee".into(),
        price_won: PRICE,
        valid_days: 30,
        on_sale: true,
        remind_days: vec![3, 1],
        remind_hour: 10,
        ..Product::default()
    }
}

pub fn reserve(id: &str, send_at: u64) -> Reserve {
    let payment =
        Ask { provider: "toss".into(), payment_key: format!("key-{id}"), order_id: id.into(), amount_won: PRICE };
    Reserve {
        gift: id.into(),
        sender: Some(sender()),
        recipient: Some(friend()),
        message: "생일 축하해 🎂".into(),
        product: Some(coffee()),
        send_at,
        local: None,
        fingerprint: 7,
        payment: Some(payment),
    }
}

/// Every live trigger of a gift in a namespace.
pub fn list(store: &MemoryStore) -> Vec<TriggerView> {
    list_all(store).into_iter().filter(|view| !is_of_shop(&view.id)).collect()
}

/// Every live trigger of a namespace, in pages.
pub fn list_all(store: &MemoryStore) -> Vec<TriggerView> {
    let query = ListQuery {
        namespace: SHOP.into(),
        topic: None,
        states: vec![Ended::Scheduled, Ended::Fired, Ended::Retrying],
        due_from: None,
        due_to: None,
        labels: Vec::new(),
        limit: 500,
        bytes: 1 << 24,
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = read::list(store, &query, after).expect("read");
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}
