//! Which models there are.

use serde_json::json;
use testkit::{Layout, both_layouts};

use crate::world;

both_layouts![the_models_are_listed_and_each_can_be_chosen];

async fn the_models_are_listed_and_each_can_be_chosen(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let models = ana.get("/models").await.ok();
    let expected = json!([{ "name": "large", "default": false }, { "name": "small", "default": true }]);
    assert_eq!(models, expected);
    let nats = world.nats_as(&ana).await;
    let listed = nats.request(&format!("omnichat.v1.u.{}.models.list", ana.id), &[], "").await;
    assert_eq!(listed.json(), models, "the same over NATS");
    let conversation = ana.conversation().await;
    let path = format!("/conversations/{conversation}/messages");
    let send = async |model: &str| ana.post(&path, json!({ "content": "hi", "model": model })).await;
    for model in models.as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        assert_eq!(send(name).await.ok()["model"], name);
    }
    send("larg").await.fault(422, "unknown_model");
    world.client().get("/models").await.fault(401, "missing_token");
}
