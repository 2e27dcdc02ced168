const MASK: &str = "***";

/// The value fit to be seen: strings under a secret's name are masked whole, URLs lose their credentials.
pub(super) fn masked(name: &str, value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(_) if is_secret(name) => MASK.into(),
        toml::Value::String(text) => without_credentials(name, text).into(),
        toml::Value::Array(items) => {
            toml::Value::Array(items.iter().map(|item| masked(name, item)).collect())
        }
        toml::Value::Table(table) => toml::Value::Table(
            table.iter().map(|(name, value)| (name.clone(), masked(name, value))).collect(),
        ),
        other => other.clone(),
    }
}

/// By name, because types are gone here. `api_key_env` is the name of a variable, not a key.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let secret = ["secret", "password", "passwd", "token", "credential", "authorization"];
    secret.iter().any(|word| name.contains(word)) && !name.ends_with("_env")
        || name == "key"
        || name.ends_with("_key")
        || name.ends_with("_keys")
}

/// `postgres://me:secret@host/db?password=secret` → `postgres://me:***@host/db?password=***`.
/// What should be a URL and is none might hold a password anywhere.
fn without_credentials(name: &str, text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return if name.to_lowercase().ends_with("url") { MASK.into() } else { text.to_owned() };
    };
    let (address, query) =
        rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    let address = match address.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => format!("{MASK}@{host}"),
        },
        None => address.to_owned(),
    };
    let query = query.map(|query| {
        let hide = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
            _ => pair.to_owned(),
        };
        format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{address}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_by_name_and_inside_urls() {
        let cases = [
            ("api_key", "hunter22", "***"),
            ("JWT_SECRET", "hunter22", "***"),
            ("api_key_env", "OPENAI_API_KEY", "OPENAI_API_KEY"),
            ("keys_dir", "/keys", "/keys"),
            ("url", "postgres://me:hunter22@host/db", "postgres://me:***@host/db"),
            ("url", "postgres://me:hunter@22@host/db", "postgres://me:***@host/db"),
            ("url", "nats://hunter22@host", "nats://***@host"),
            (
                "url",
                "postgres://host/db?user=me&password=hunter22",
                "postgres://host/db?user=me&password=***",
            ),
            ("url", "postgres//me:hunter22@host", "***"),
            ("base_url", "https://api.example.com/v1", "https://api.example.com/v1"),
            ("name", "plain", "plain"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(masked(name, &value.into()).as_str(), Some(expected), "{name} = {value}");
        }
        assert_eq!(masked("access_token_minutes", &15.into()), 15.into());
    }
}
