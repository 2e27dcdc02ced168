//! Cases 89 to 94: what is wrong with a configuration is told before anything begins.

use crate::{
    Table,
    program::{Ended, SECRET, end, omnichat},
};

/// The case's number, what it is, the roles, the variables beside a secret, and the key that the line must name.
type Row =
    (u16, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/none");
const MINE: (&str, &str) = ("OMNICHAT__PROVIDERS__MINE__KIND", "openai-compatible");
const MODEL: (&str, &str) = ("LLM_MODEL", "m");
const HOST: (&str, &str) = ("OMNICHAT__PROVIDERS__MINE__BASE_URL", "https://llm.example.org/v1");

const ROWS: &[Row] = &[
    (89, "no database to serve from", &["serve", "auth"], &[], "postgres.url"),
    (89, "no database to migrate", &["migrate"], &[], "postgres.url"),
    (89, "no secret for tokens", &["serve", "ingress"], &[("JWT_SECRET", "")], "identity.jwt_secret"),
    (89, "no provider at all", &["serve", "chat"], &[], "llm.provider"),
    (
        89,
        "no key for a provider that wants one",
        &["serve", "chat"],
        &[MINE, MODEL, HOST, ("OMNICHAT__PROVIDERS__MINE__API_KEY_ENV", "MY_KEY")],
        "providers.mine.api_key_env",
    ),
    (89, "the database is none", &["migrate"], &[("DATABASE_URL", "mysql://me:s3cret@h/d")], "postgres.url"),
    (89, "NATS is none", &["provision"], &[("NATS_URL", "nats://me:s3cret@127.0.0.1:x")], "nats.url"),
    (90, "a short secret", &["serve", "auth"], &[("JWT_SECRET", "s3cret")], "identity.jwt_secret"),
    (92, "an empty pool", &["config"], &[("OMNICHAT__POSTGRES__POOL_SIZE", "0")], "postgres.pool_size"),
    (92, "no such port", &["config"], &[("OMNICHAT__HTTP__LISTEN", "127.0.0.1:70000")], "http.listen"),
    (
        92,
        "time without end",
        &["config"],
        &[("OMNICHAT__HTTP__REQUEST_TIMEOUT_S", "0")],
        "http.request_timeout_s",
    ),
    (
        92,
        "a unit",
        &["config"],
        &[("OMNICHAT__HTTP__REQUEST_TIMEOUT_S", "5s3cret")],
        "http.request_timeout_s",
    ),
    (92, "a space", &["config"], &[("OMNICHAT__HTTP__REQUEST_TIMEOUT_S", "5 ")], "http.request_timeout_s"),
    (92, "no such algorithm", &["config"], &[("JWT_ALGORITHM", "none")], "identity.jwt_algorithm"),
    (93, "a slip in a key", &["config"], &[("OMNICHAT__HTTP__LISTN", "s3cret")], "did you mean listen?"),
    (93, "a slip in a section", &["config"], &[("OMNICHAT__HTPP__LISTEN", "s3cret")], "did you mean http?"),
    (
        93,
        "one underscore for two",
        &["config"],
        &[("OMNICHAT_HTTP_LISTEN", "s3cret")],
        "did you mean OMNICHAT__HTTP__LISTEN?",
    ),
    (
        93,
        "one underscore for the first two",
        &["config"],
        &[("OMNICHAT_HTTP__LISTEN", "s3cret")],
        "did you mean OMNICHAT__HTTP__LISTEN?",
    ),
];

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_named_in_one_line() {
    let mut table = Table::default();
    for (case, text, arguments, variables, key) in ROWS {
        let variables = [&[("JWT_SECRET", SECRET)], *variables].concat();
        table.row(*case, text, ended(arguments, &variables).await.refuses(key));
    }
}

/// The keys are those that the program shows, so a new one is checked without being named here.
#[tokio::test]
async fn every_number_of_the_configuration_is_checked() {
    let mut table = Table::default();
    let effective = ended(&["config"], &[]).await.printed;
    let mut section = "";
    let mut count = 0;
    for line in effective.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let Some((name, value)) = line.split_once(" = ") else { continue };
        if value.parse::<f64>().is_err() {
            continue;
        }
        count += 1;
        let key = format!("{section}.{name}");
        let variable = format!("OMNICHAT__{}", key.replace('.', "__").to_uppercase());
        for wrong in ["-1", "1s3cret", "1e400"] {
            let ended = ended(&["config"], &[(&variable, wrong)]).await;
            table.row(92, &format!("{variable}={wrong}"), ended.refuses(&key));
        }
    }
    assert!(count > 10, "numbers were looked for in\n{effective}");
}

/// Addresses of a provider that `serve` does not call.
const ADDRESSES: &[(u16, &str)] = &[
    (94, "http://s3cret.example.org/v1"),
    (94, "https://10.0.0.1/v1"),
    (94, "https://192.168.1.1/v1"),
    (94, "https://127.1/v1"),
    (94, "https://2130706433/"),
    (94, "https://0x7f.1/"),
    (94, "https://0177.0.0.1/"),
    (94, "https://localhost/v1"),
    (94, "https://169.254.169.254/latest"),
    (94, "https://[::1]/v1"),
    (94, "https://[::ffff:a9fe:a9fe]/"),
    (94, "https://[64:ff9b::a9fe:a9fe]/"),
    (94, "https://[2002:a9fe:a9fe::]/"),
    (94, "https://[fd00::1]/"),
    (94, "https://0.0.0.0/"),
    (94, "https://me:s3cret@llm.example.org/v1"),
    (94, "https://llm.example.org/v1#s3cret"),
    (94, "https://llm.example.org/v1?key=s3cret"),
    (94, "ftp://llm.example.org/"),
    (94, "s3cret"),
];

#[tokio::test]
async fn a_provider_has_a_public_address_without_secrets() {
    let mut table = Table::default();
    for (case, address) in ADDRESSES {
        let variables =
            [("JWT_SECRET", SECRET), DATABASE, MINE, MODEL, ("OMNICHAT__PROVIDERS__MINE__BASE_URL", address)];
        table.row(
            *case,
            address,
            ended(&["serve", "chat"], &variables).await.refuses("providers.mine.base_url"),
        );
    }
}

async fn ended(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    end(omnichat(arguments, variables)).await
}
