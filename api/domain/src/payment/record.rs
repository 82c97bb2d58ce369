//! What is known about a payment, and what executors are told.

/// What became of taking the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PaymentState {
    /// Nothing was asked of the provider yet.
    Ready = 0,
    /// The provider is being asked.
    InProgress = 1,
    /// Captured.
    Done = 2,
    /// Not captured, or captured by mistake and on its way back.
    Fail = 3,
    /// The provider was asked and its answer is not known; it is asked again.
    Unknown = 4,
}

/// What became of giving it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RefundState {
    /// Not asked for.
    None = 0,
    /// The provider is being asked.
    Requested = 1,
    /// It is back.
    Done = 2,
    /// The provider refuses: a human has to see to it.
    Failed = 3,
}

/// A payment.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Payment {
    /// That of the gift.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whose.
    #[prost(string, tag = "2")]
    pub provider: String,
    /// The provider's name for it.
    #[prost(string, tag = "3")]
    pub payment_key: String,
    /// The merchant's name for it.
    #[prost(string, tag = "4")]
    pub order_id: String,
    /// What was to be captured.
    #[prost(uint64, tag = "5")]
    pub amount_won: u64,
    /// What became of that.
    #[prost(enumeration = "PaymentState", tag = "6")]
    pub state: i32,
    /// What was captured.
    #[prost(uint64, tag = "7")]
    pub captured_won: u64,
    /// When, in replicated time.
    #[prost(uint64, tag = "8")]
    pub captured_at: u64,
    /// How it was paid, in the provider's words.
    #[prost(string, tag = "9")]
    pub method: String,
    /// Whether it goes back.
    #[prost(enumeration = "RefundState", tag = "10")]
    pub refund: i32,
    /// When it was back, in replicated time.
    #[prost(uint64, tag = "11")]
    pub refunded_at: u64,
    /// The newest error, for a human.
    #[prost(string, tag = "12")]
    pub error: String,
    /// How often the provider was asked what became of it.
    #[prost(uint32, tag = "13")]
    pub queries: u32,
    /// Number of the command that made it.
    #[prost(uint64, tag = "14")]
    pub made: u64,
    /// The trigger that asks the provider, while it is not known what became of it.
    #[prost(string, tag = "15")]
    pub trigger: String,
}

impl Payment {
    /// Whether it is not known yet if it was captured.
    pub fn is_open(&self) -> bool {
        matches!(self.state(), PaymentState::InProgress | PaymentState::Unknown)
    }
}

/// What the payer's side was given by the provider, and wants captured.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Ask {
    /// Name of the provider.
    #[prost(string, tag = "1")]
    pub provider: String,
    /// The provider's name for the payment.
    #[prost(string, tag = "2")]
    pub payment_key: String,
    /// The merchant's name for it: the id of the gift.
    #[prost(string, tag = "3")]
    pub order_id: String,
    /// Must be the price.
    #[prost(uint64, tag = "4")]
    pub amount_won: u64,
}

/// Payload of triggers that confirm a payment or ask about it. The same bytes as `bosingak.payment.v1.PayWork`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PayWork {
    /// Which payment.
    #[prost(string, tag = "1")]
    pub payment: String,
    /// Whose.
    #[prost(string, tag = "2")]
    pub provider: String,
    /// The provider's name for it.
    #[prost(string, tag = "3")]
    pub payment_key: String,
    /// The merchant's name for it.
    #[prost(string, tag = "4")]
    pub order_id: String,
    /// What is to be captured.
    #[prost(uint64, tag = "5")]
    pub amount_won: u64,
    /// The same for every attempt.
    #[prost(string, tag = "6")]
    pub idempotency_key: String,
}

/// Payload of triggers that give a payment back. The same bytes as `bosingak.payment.v1.RefundWork`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RefundWork {
    /// Which payment.
    #[prost(string, tag = "1")]
    pub payment: String,
    /// Whose.
    #[prost(string, tag = "2")]
    pub provider: String,
    /// The provider's name for it.
    #[prost(string, tag = "3")]
    pub payment_key: String,
    /// What goes back.
    #[prost(uint64, tag = "4")]
    pub amount_won: u64,
    /// Why, for the payer.
    #[prost(string, tag = "5")]
    pub reason: String,
    /// The same for every attempt.
    #[prost(string, tag = "6")]
    pub idempotency_key: String,
}
