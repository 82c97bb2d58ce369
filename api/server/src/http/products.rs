//! `/v1/namespaces/{namespace}/products`: what can be given.

use axum::Json as Answer;
use axum::extract::State;
use proto::product::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Deadline;
use super::json::{Json, Path, Query};
use super::scalars::{Number, Won, names};
use super::{Api, Problem};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, get))
}

names! {
    /// How the codes look that shops take.
    CodeForm = v1::CodeForm {
        /// As BASE32.
        Unspecified = "CODE_FORM_UNSPECIFIED",
        /// 16 letters and digits.
        Base32 = "CODE_FORM_BASE32",
        /// 20 digits, for terminals without letters.
        Digits = "CODE_FORM_DIGITS",
    }
}

/// What can be given.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Product {
    /// 1 to 64 characters of [A-Za-z0-9._-].
    #[schema(example = "coffee")]
    id: String,
    /// Grows with every change, from 1.
    version: Number,
    /// 1 to 100 characters.
    #[schema(example = "아메리카노 Tall")]
    name: String,
    /// 1 to 60 characters.
    brand: String,
    /// What it costs.
    price_won: Won,
    /// Days a gift can be used, the day it is sent not counted.
    valid_days: u32,
    /// A picture; empty when there is none.
    image_url: String,
    /// How its codes look.
    code_form: CodeForm,
    /// Whether it can be given now.
    on_sale: bool,
    /// Days before expiry on which the recipient is reminded, falling.
    remind_days: Vec<u32>,
    /// Hour of those days in the recipient's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    remind_hour: Option<u32>,
}

impl From<v1::Product> for Product {
    fn from(product: v1::Product) -> Self {
        Product {
            id: product.id,
            version: Number(product.version),
            name: product.name,
            brand: product.brand,
            price_won: Won::of(product.price_won),
            valid_days: product.valid_days,
            image_url: product.image_url,
            code_form: CodeForm::of(product.code_form),
            on_sale: product.on_sale,
            remind_days: product.remind_days,
            remind_hour: product.remind_hour,
        }
    }
}

/// What a product is from now on.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PutProduct {
    /// 1 to 100 characters. Required.
    #[schema(example = "아메리카노 Tall", required)]
    name: String,
    /// 1 to 60 characters. Required.
    #[schema(example = "별다방", required)]
    brand: String,
    /// 1 to 100,000,000. Required.
    #[schema(required)]
    price_won: Won,
    /// Days a gift can be used, the day it is sent not counted: 1 to 3,650. 30 when left out.
    valid_days: u32,
    /// A picture: an https address of at most 2,048 characters, escaped.
    image_url: String,
    /// How its codes look. BASE32 when left out.
    code_form: Option<CodeForm>,
    /// Whether it can be given. False when left out.
    on_sale: bool,
    /// Days before expiry on which the recipient is reminded, falling, each less than validDays; at most 8. 3 and 1 when left out.
    remind_days: Vec<u32>,
    /// Hour of those days in the recipient's zone, 0 to 23. 10 when left out.
    remind_hour: Option<u32>,
    /// Only if this is still the version: VERSION_MISMATCH otherwise. Left out, or 0: whichever.
    expected_version: Number,
}

/// A page of products.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProductPage {
    /// In the order of their ids within each partition.
    products: Vec<Product>,
    /// For the next page; empty on the last one.
    next_page_token: String,
}

/// Which products.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct WhichProducts {
    /// 1 to 1,000; 100 when left out.
    page_size: Option<u32>,
    /// From the previous page.
    page_token: Option<String>,
}

/// Lists products.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/products",
    tag = "products",
    operation_id = "list_products",
    params(("namespace" = String, Path, description = "Tenant.", example = "default"), WhichProducts),
    responses(
        (status = 200, description = "A page.", body = ProductPage),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    deadline: Deadline,
    Path(namespace): Path<String>,
    Query(query): Query<WhichProducts>,
) -> Result<Answer<ProductPage>, Problem> {
    let message = v1::ListProductsRequest {
        namespace,
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
    };
    let page = api.call("ListProducts", deadline, message, async |m, _| api.services.list_products(m).await).await?;
    let products = page.products.into_iter().map(Product::from).collect();
    Ok(Answer(ProductPage { products, next_page_token: page.next_page_token }))
}

/// Reads a product. Linearizable.
#[utoipa::path(
    get,
    path = "/v1/namespaces/{namespace}/products/{id}",
    tag = "products",
    operation_id = "get_product",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which.", example = "coffee"),
    ),
    responses(
        (status = 200, description = "The product.", body = Product),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<Product>, Problem> {
    let message = v1::GetProductRequest { namespace, id };
    let call = async |message, call| api.services.get_product(message, call).await;
    let answer = api.call("GetProduct", deadline, message, call).await?;
    Ok(Answer(Product::from(answer.product.unwrap_or_default())))
}

/// Creates or replaces a product.
///
/// Gifts that are reserved already keep the product as it was. The same again changes nothing.
#[utoipa::path(
    put,
    path = "/v1/namespaces/{namespace}/products/{id}",
    tag = "products",
    operation_id = "put_product",
    params(
        ("namespace" = String, Path, description = "Tenant.", example = "default"),
        ("id" = String, Path, description = "Which: 1 to 64 characters of [A-Za-z0-9._-].", example = "coffee"),
    ),
    request_body = PutProduct,
    responses(
        (status = 200, description = "The product as it is now.", body = Product),
        (status = "default", description = "A problem.", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(api): State<Api>,
    deadline: Deadline,
    Path((namespace, id)): Path<(String, String)>,
    Json(body): Json<PutProduct>,
) -> Result<Answer<Product>, Problem> {
    let product = v1::Product {
        id,
        version: 0,
        name: body.name,
        brand: body.brand,
        price_won: body.price_won.0.unsigned_abs(),
        valid_days: body.valid_days,
        image_url: body.image_url,
        code_form: body.code_form.map_or(0, CodeForm::number),
        on_sale: body.on_sale,
        remind_days: body.remind_days,
        remind_hour: body.remind_hour,
    };
    let expected_version = body.expected_version.0;
    let message = v1::PutProductRequest { namespace, product: Some(product), expected_version };
    let call = async |message, call| api.services.put_product(message, call).await;
    let answer = api.call("PutProduct", deadline, message, call).await;
    let answer = answer.map_err(|problem| problem.with_fields(of_body))?;
    Ok(Answer(Product::from(answer.product.unwrap_or_default())))
}

/// The body is the product.
fn of_body(field: &str) -> String {
    field.strip_prefix("product.").unwrap_or(field).to_owned()
}
