//! Who calls, as OpenRouter wants to know it for its rankings and statistics.

use reqwest::header::{HeaderName, HeaderValue};

use crate::config::{ProviderConfig, ProviderKind};

const REFERER: HeaderName = HeaderName::from_static("http-referer");
const TITLE: HeaderName = HeaderName::from_static("x-openrouter-title");
/// What the title was called before.
const OLD_TITLE: HeaderName = HeaderName::from_static("x-title");

/// The headers of every call to this provider, or the field that makes none: other kinds are told nothing.
pub(crate) fn headers(config: &ProviderConfig) -> Result<Vec<(HeaderName, HeaderValue)>, &'static str> {
    let asked = [("referer", &config.referer), ("title", &config.title)];
    if config.kind != ProviderKind::Openrouter {
        return match asked.into_iter().find(|(_, value)| value.is_some()) {
            Some((field, _)) => Err(field),
            None => Ok(Vec::new()),
        };
    }
    let mut headers = Vec::new();
    if let Some(referer) = &config.referer {
        headers.push((REFERER, visible(referer).ok_or("referer")?));
    }
    let title = visible(config.title.as_deref().unwrap_or("omnichat")).ok_or("title")?;
    headers.push((TITLE, title.clone()));
    headers.push((OLD_TITLE, title));
    Ok(headers)
}

fn visible(text: &str) -> Option<HeaderValue> {
    let visible = !text.trim().is_empty() && text.bytes().all(|it| matches!(it, b' '..=b'~'));
    visible.then(|| HeaderValue::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;
    use crate::{Config, Gateway, Message, ModelConfig, Prompt, RouteStep, Settings};

    fn told(edit: impl FnOnce(&mut ProviderConfig)) -> Result<Vec<String>, &'static str> {
        let mut config = ProviderConfig::new(ProviderKind::Openrouter, "https://openrouter.ai/api/v1");
        edit(&mut config);
        let headers = headers(&config)?.into_iter();
        Ok(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect())
    }

    #[test]
    fn openrouter_is_told_the_title_under_both_names_and_the_referer_if_there_is_one() {
        assert_eq!(told(|_| {}).unwrap(), ["x-openrouter-title: omnichat", "x-title: omnichat"]);
        let ours = told(|it| {
            (it.referer, it.title) = (Some("https://chat.example.org".into()), Some("Our chat".into()));
        });
        let expected =
            ["http-referer: https://chat.example.org", "x-openrouter-title: Our chat", "x-title: Our chat"];
        assert_eq!(ours.unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_by_its_field() {
        for bad in ["", " ", "a\r\nb: c", "\u{fc}", "a\0"] {
            assert_eq!(told(|it| it.title = Some(bad.to_owned())), Err("title"), "{bad:?}");
            assert_eq!(told(|it| it.referer = Some(bad.to_owned())), Err("referer"), "{bad:?}");
        }
    }

    #[test]
    fn others_are_told_nothing() {
        assert_eq!(told(|it| it.kind = ProviderKind::Openai), Ok(vec![]));
        let misplaced = told(|it| (it.kind, it.referer) = (ProviderKind::Ollama, Some("https://a.b".into())));
        assert_eq!(misplaced, Err("referer"));
    }

    #[tokio::test]
    async fn every_call_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let mut config = ProviderConfig::new(ProviderKind::Openrouter, base_url);
        config.referer = Some("https://chat.example.org".to_owned());
        config.allow_insecure = true;
        let route = [RouteStep::new("router", "theirs")];
        let gateway = Gateway::new(&Config {
            providers: [("router".to_owned(), config)].into(),
            models: [("m".to_owned(), ModelConfig::new(route))].into(),
            default_model: "m".to_owned(),
        });
        let gateway = gateway.unwrap();
        let prompt = Prompt {
            model: "m".to_owned(),
            messages: vec![Message::user("hi")],
            settings: Settings::default(),
            call_id: "t:1".to_owned(),
            traceparent: None,
        };
        let listen = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let bytes = connection.read(&mut head).await.unwrap();
            String::from_utf8(head[..bytes].to_vec()).unwrap().to_lowercase()
        };
        let (called, head) = tokio::join!(gateway.call(prompt), listen);
        assert!(called.is_err(), "nobody answered");
        for line in
            ["http-referer: https://chat.example.org", "x-openrouter-title: omnichat", "x-title: omnichat"]
        {
            assert!(head.lines().any(|it| it == line), "{head}");
        }
    }
}
