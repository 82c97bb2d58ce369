//! `/v1/namespaces/{namespace}/shops`: shops and the terminals at which they take codes.

use axum::Json as Answer;
use axum::extract::State;
use proto::shop::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::idempotency::IdempotencyKey;
use super::json::{Json, Path, Query};
use super::scalars::{Moment, Number};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put))
        .routes(routes!(add_terminal))
        .routes(routes!(revoke_terminal))
        .routes(routes!(unlock_terminal))
}

/// A shop.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Shop {
    /// 1 to 64 characters of [A-Za-z0-9._-].
    id: String,
    /// 1 to 60 characters.
    name: String,
    /// Grows with every change of the name.
    version: Number,
}

impl From<v1::Shop> for Shop {
    fn from(shop: v1::Shop) -> Self {
        Shop { id: shop.id, name: shop.name, version: Number(shop.version) }
    }
}

/// A terminal of a shop.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Terminal {
    /// 1 to 64 characters of [A-Za-z0-9._-], unique in its shop.
    id: String,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Moment>,
    /// When it was revoked; left out: it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Moment>,
    /// Wrong codes and secrets within the last hour, and codes that are being looked up.
    failures: u32,
    /// Left out: it is not locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<Moment>,
}

impl From<v1::Terminal> for Terminal {
    fn from(terminal: v1::Terminal) -> Self {
        Terminal {
            id: terminal.id,
            added: terminal.added.map(Moment),
            revoked: terminal.revoked.map(Moment),
            failures: terminal.failures,
            locked_until: terminal.locked_until.map(Moment),
        }
    }
}

/// A page of shops.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Shops {
    /// In the order of their ids within each partition.
    shops: Vec<Shop>,
    /// Empty on the last page.
    next_page_token: String,
}

/// A shop and its terminals.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ShopAndTerminals {
    /// The shop.
    shop: Shop,
    /// In the order of their ids, those that were revoked among them.
    terminals: Vec<Terminal>,
}

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct WhichShops {
    /// 1 to 1,000; 100 when left out.
    page_size: Option<u32>,
    /// From the previous page.
    page_token: Option<String>,
}

/// Lists shops.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/shops",
    tag = "shops",
    operation_id = "list_shops",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), WhichShops),
    responses(
        (status = 200, description = "A page.", body = Shops),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<WhichShops>,
) -> Result<Answer<Shops>, Problem> {
    let (page_size, page_token) = (query.page_size.unwrap_or_default(), query.page_token.unwrap_or_default());
    let message = v1::ListShopsRequest { namespace, page_size, page_token };
    let answer = api.call("ListShops", deadline, message, async |message, _| api.services.list_shops(message)).await?;
    let shops = answer.shops.into_iter().map(Shop::from).collect();
    Ok(Answer(Shops { shops, next_page_token: answer.next_page_token }))
}

/// Reads a shop and its terminals.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/shops/{id}",
    tag = "shops",
    operation_id = "get_shop",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "jongno"),
    ),
    responses(
        (status = 200, description = "As it is.", body = ShopAndTerminals),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<ShopAndTerminals>, Problem> {
    let message = v1::GetShopRequest { namespace, id };
    let call = async |message, call| api.services.get_shop(message, call).await;
    let answer = api.call("GetShop", deadline, message, call).await?;
    let terminals = answer.terminals.into_iter().map(Terminal::from).collect();
    Ok(Answer(ShopAndTerminals { shop: Shop::from(answer.shop.unwrap_or_default()), terminals }))
}

/// What a shop is from now on.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PutShop {
    /// 1 to 60 characters.
    name: String,
    /// Only if this is still the version: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    expected_version: Number,
}

/// Creates a shop or changes its name. The same again changes nothing.
#[utoipa::path(
    put,
    path = "/v1/namespaces/{namespace}/shops/{id}",
    tag = "shops",
    operation_id = "put_shop",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "jongno"),
    ),
    request_body = PutShop,
    responses(
        (status = 200, description = "The shop as it is now.", body = Shop),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    Json(body): Json<PutShop>,
) -> Result<Answer<Shop>, Problem> {
    let shop = Some(v1::Shop { id, name: body.name, version: 0 });
    let message = v1::PutShopRequest { namespace, shop, expected_version: body.expected_version.0 };
    let call = async |message, call| api.services.put_shop(message, call).await;
    let answer = api.call("PutShop", deadline, message, call).await?;
    Ok(Answer(Shop::from(answer.shop.unwrap_or_default())))
}

/// Registers a terminal.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AddTerminal {
    /// 1 to 64 characters of [A-Za-z0-9._-], unique in its shop.
    id: String,
}

/// A terminal that was registered.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AddedTerminal {
    /// The terminal.
    terminal: Terminal,
    /// 32 hexadecimal digits, given out here and nowhere else.
    secret: String,
}

/// Registers a terminal and answers its secret, which is not kept and cannot be asked for again. A repeat with the same key gets another
/// secret, and the one before is void.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/shops/{id}/terminals",
    tag = "shops",
    operation_id = "add_terminal",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Of the shop.", example = "jongno"),
        ("Idempotency-Key" = Option<String>, Header, description = "A UUID of version 7."),
    ),
    request_body = AddTerminal,
    responses(
        (status = 200, description = "It may be used.", body = AddedTerminal),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn add_terminal(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, shop_id)): Path<(String, String)>,
    key: IdempotencyKey,
    Json(body): Json<AddTerminal>,
) -> Result<Answer<AddedTerminal>, Problem> {
    let message = v1::AddTerminalRequest { namespace, shop_id, terminal_id: body.id, request_id: key.request_id()? };
    let call = async |message, call| api.services.add_terminal(message, call).await;
    let answer = api.call("AddTerminal", deadline, message, call).await?;
    let terminal = Terminal::from(answer.terminal.unwrap_or_default());
    Ok(Answer(AddedTerminal { terminal, secret: answer.secret }))
}

/// Nothing to say about a terminal.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AboutTerminal {}

/// From now on the terminal is not known.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/shops/{id}/terminals/{terminal}/revoke",
    tag = "shops",
    operation_id = "revoke_terminal",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Of the shop.", example = "jongno"),
        ("terminal" = String, Path, description = "Which.", example = "till-1"),
    ),
    request_body = AboutTerminal,
    responses(
        (status = 200, description = "It may not be used any more.", body = Terminal),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn revoke_terminal(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, shop_id, terminal_id)): Path<(String, String, String)>,
    Json(AboutTerminal {}): Json<AboutTerminal>,
) -> Result<Answer<Terminal>, Problem> {
    let message = v1::RevokeTerminalRequest { namespace, shop_id, terminal_id };
    let call = async |message, call| api.services.revoke_terminal(message, call).await;
    let answer = api.call("RevokeTerminal", deadline, message, call).await?;
    Ok(Answer(Terminal::from(answer.terminal.unwrap_or_default())))
}

/// Lets a locked terminal try again: what was counted is forgotten.
#[utoipa::path(
    post,
    path = "/v1/namespaces/{namespace}/shops/{id}/terminals/{terminal}/unlock",
    tag = "shops",
    operation_id = "unlock_terminal",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Of the shop.", example = "jongno"),
        ("terminal" = String, Path, description = "Which.", example = "till-1"),
    ),
    request_body = AboutTerminal,
    responses(
        (status = 200, description = "It may try again.", body = Terminal),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn unlock_terminal(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, shop_id, terminal_id)): Path<(String, String, String)>,
    Json(AboutTerminal {}): Json<AboutTerminal>,
) -> Result<Answer<Terminal>, Problem> {
    let message = v1::UnlockTerminalRequest { namespace, shop_id, terminal_id };
    let call = async |message, call| api.services.unlock_terminal(message, call).await;
    let answer = api.call("UnlockTerminal", deadline, message, call).await?;
    Ok(Answer(Terminal::from(answer.terminal.unwrap_or_default())))
}
