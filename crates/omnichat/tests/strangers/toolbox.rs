//! The judges themselves: what judges must be what was pinned, however it came to be installed.

use testkit::{Toolbox, toolbox::judged};

const ASKED_FOR: &str = include_str!("../../../testkit/tools/requirements.in");
const PACKAGE: &str = include_str!("../../../testkit/tools/package.json");
const STARTS: &str = "it must start";
const IMPORTS: &str =
    "import { connect } from '@nats-io/transport-node'; import { Svcm } from '@nats-io/services';
    import { chromium } from 'playwright-core';
    console.log(typeof connect, typeof Svcm, typeof chromium.launch)";

#[tokio::test]
async fn the_judges_are_the_ones_that_were_pinned() {
    let tools = Toolbox::open().await;
    let mut schemathesis = tools.schemathesis();
    schemathesis.arg("--version");
    let version = judged(schemathesis, STARTS).await;
    let version = version.trim().rsplit(' ').next().unwrap();
    assert!(ASKED_FOR.contains(&format!("\nschemathesis=={version}\n")), "{version}");

    let mut redocly = tools.redocly();
    redocly.arg("--version");
    let version = judged(redocly, STARTS).await;
    assert!(PACKAGE.contains(&format!(r#""@redocly/cli": "{}""#, version.trim())), "{version}");

    assert_eq!(judged(tools.node(IMPORTS), STARTS).await.trim(), "function function function");
    let python = tools.python("import nats, msgpack, jsonschema; print('there')");
    assert_eq!(judged(python, STARTS).await.trim(), "there");
}
