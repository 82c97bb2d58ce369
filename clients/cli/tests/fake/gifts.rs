//! Gifts, products and payments: one of each.

use proto::gift::v1::gift_service_server::GiftService;
use proto::gift::v1::*;
use proto::payment::v1::payment_service_server::PaymentService;
use proto::payment::v1::*;
use proto::product::v1::product_service_server::ProductService;
use proto::product::v1::*;
use tonic::{Request, Status};

use super::{Answer, Answers, Fake, moment, ok, refused};

fn product(id: &str) -> Option<Product> {
    Some(Product {
        id: id.into(),
        version: 2,
        name: "아메리카노 \u{1b}[31m".into(),
        brand: "별다방".into(),
        price_won: 4_500,
        valid_days: 30,
        on_sale: true,
        ..Product::default()
    })
}

fn gift(id: &str, state: GiftState) -> Option<Gift> {
    Some(Gift {
        id: id.into(),
        sender: Some(Party { id: "kim".into(), name: "김보신".into(), ..Party::default() }),
        recipient: Some(Party { name: "이종각".into(), phone: "+821012345678".into(), ..Party::default() }),
        message: "축하해 \u{1b}[2J".into(),
        product: product("coffee"),
        send_at: moment(1_802_530_800),
        state: state.into(),
        version: 7,
        events: vec![GiftEvent {
            at: moment(1_802_530_000),
            state: state.into(),
            what: "paid \u{1b}[2J".into(),
            log_index: 20,
        }],
        trouble: "nobody knows \u{1b}[2J".into(),
        ..Gift::default()
    })
}

fn decided() -> Option<GiftReceipt> {
    Some(GiftReceipt { partition: 1, log_index: 20, decided: moment(1_802_530_000) })
}

#[tonic::async_trait]
impl ProductService for Fake {
    async fn put_product(&self, request: Request<PutProductRequest>) -> Answer<PutProductResponse> {
        let given = request.into_inner().product.unwrap_or_default();
        refused(&given.id)?;
        ok(PutProductResponse { product: Some(Product { version: 3, ..given }) })
    }

    async fn get_product(&self, request: Request<GetProductRequest>) -> Answer<GetProductResponse> {
        let id = request.into_inner().id;
        refused(&id)?;
        ok(GetProductResponse { product: product(&id) })
    }

    async fn list_products(&self, request: Request<ListProductsRequest>) -> Answer<ListProductsResponse> {
        let first = request.into_inner().page_token.is_empty();
        let id = if first { "coffee" } else { "tea" };
        let next_page_token = if first { "more" } else { "" }.to_owned();
        ok(ListProductsResponse { products: product(id).into_iter().collect(), next_page_token })
    }
}

#[tonic::async_trait]
impl PaymentService for Fake {
    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Answer<GetPaymentResponse> {
        let id = request.into_inner().id;
        refused(&id)?;
        let payment = Payment {
            id,
            amount_won: 4_500,
            captured_won: 4_500,
            state: PaymentState::Done.into(),
            refund: RefundState::Requested.into(),
            error: "busy \u{1b}[2J".into(),
            ..Payment::default()
        };
        ok(GetPaymentResponse { payment: Some(payment) })
    }

    async fn reconcile(&self, request: Request<ReconcileRequest>) -> Answer<ReconcileResponse> {
        // As of one moment the books are wrong.
        let wrong = request.into_inner().as_of == moment(1_802_530_800);
        let total = Balance { captured_won: 9_000, delivered_won: 4_500, refunded_won: 4_500, ..Balance::default() };
        let days = vec![DayBalance { date: "2027-02-14".into(), change: Some(total) }];
        let (as_of, difference_won) = (moment(1_802_530_000), if wrong { 100 } else { 0 });
        ok(ReconcileResponse { as_of, total: Some(total), days, difference_won })
    }
}

#[tonic::async_trait]
impl GiftService for Fake {
    type WatchGiftStream = Answers<WatchGiftResponse>;

    async fn reserve(&self, request: Request<ReserveRequest>) -> Answer<ReserveResponse> {
        let given = request.into_inner();
        refused(&given.gift_id)?;
        let declined = given.gift_id == "declined";
        let amount = given.payment.map_or(0, |payment| payment.amount_won);
        let state = if declined { GiftState::Failed } else { GiftState::Reserved };
        let error = if declined { "REJECT_CARD_PAYMENT" } else { "" }.to_owned();
        let payment = Payment { captured_won: amount, error, ..Payment::default() };
        let (gift, payment) = (gift(&given.gift_id, state), Some(payment));
        ok(ReserveResponse { gift, payment, receipt: decided(), replayed: false })
    }

    async fn get_gift(&self, request: Request<GetGiftRequest>) -> Answer<GetGiftResponse> {
        let id = request.into_inner().gift_id;
        refused(&id)?;
        ok(GetGiftResponse { gift: gift(&id, GiftState::Sent) })
    }

    async fn list_gifts(&self, request: Request<ListGiftsRequest>) -> Answer<ListGiftsResponse> {
        let first = request.into_inner().page_token.is_empty();
        let id = if first { "gift-1" } else { "gift-2" };
        let next_page_token = if first { "more" } else { "" }.to_owned();
        ok(ListGiftsResponse { gifts: gift(id, GiftState::Reserved).into_iter().collect(), next_page_token })
    }

    async fn edit_gift(&self, request: Request<EditGiftRequest>) -> Answer<EditGiftResponse> {
        let given = request.into_inner();
        refused(&given.gift_id)?;
        ok(EditGiftResponse { gift: gift(&given.gift_id, GiftState::Reserved), receipt: decided() })
    }

    async fn cancel_gift(&self, request: Request<CancelGiftRequest>) -> Answer<CancelGiftResponse> {
        let id = request.into_inner().gift_id;
        refused(&id)?;
        ok(CancelGiftResponse { gift: gift(&id, GiftState::Cancelled), receipt: decided(), replayed: false })
    }

    async fn watch_gift(&self, request: Request<WatchGiftRequest>) -> Answer<Self::WatchGiftStream> {
        let id = request.into_inner().gift_id;
        refused(&id)?;
        let states = [GiftState::Accepted, GiftState::Used];
        let gifts = states.into_iter().zip(1_u64..).map(move |(state, version)| {
            let gift = gift(&id, state).map(|gift| Gift { version, ..gift });
            Ok::<_, Status>(WatchGiftResponse { gift })
        });
        ok(Box::pin(futures::stream::iter(gifts)))
    }

    async fn open_gift(&self, request: Request<OpenGiftRequest>) -> Answer<OpenGiftResponse> {
        let passed_on = request.into_inner().token == "old";
        let code = if passed_on { "" } else { "ABCD" }.to_owned();
        ok(OpenGiftResponse {
            gift: gift("gift-1", GiftState::Accepted),
            passed_on,
            code,
            nonce: String::new(),
            now: None,
            used_at: None,
        })
    }

    async fn accept_gift(&self, _: Request<AcceptGiftRequest>) -> Answer<AcceptGiftResponse> {
        Err(Status::unimplemented("nobody accepts by command line"))
    }

    async fn transfer_gift(&self, _: Request<TransferGiftRequest>) -> Answer<TransferGiftResponse> {
        Err(Status::unimplemented("nobody passes on by command line"))
    }

    async fn redeem_gift(&self, request: Request<RedeemGiftRequest>) -> Answer<RedeemGiftResponse> {
        refused(&request.into_inner().code)?;
        ok(RedeemGiftResponse { gift: gift("gift-1", GiftState::Used), receipt: decided(), ..Default::default() })
    }

    async fn list_attention(&self, _: Request<ListAttentionRequest>) -> Answer<ListAttentionResponse> {
        let gifts = gift("gift-1", GiftState::SendUnknown).into_iter().collect();
        ok(ListAttentionResponse { gifts, next_page_token: String::new() })
    }

    async fn resolve_gift(&self, request: Request<ResolveGiftRequest>) -> Answer<ResolveGiftResponse> {
        let given = request.into_inner();
        refused(&given.gift_id)?;
        let state = if given.was_sent { GiftState::Sent } else { GiftState::Failed };
        ok(ResolveGiftResponse { gift: gift(&given.gift_id, state) })
    }
}
