//! Which models there are.

use serde_json::json;
use testkit::{Layout, both_layouts};

use crate::world;

both_layouts![the_models_are_listed_and_each_can_be_chosen];

async fn the_models_are_listed_and_each_can_be_chosen(layout: Layout) {
    let world = world(layout)
        .set("models.large.context_tokens", 8192)
        .set("models.large.prices", "{ prompt = 2.5, completion = 10 }")
        .start()
        .await;
    let ana = world.user().await;
    let models = ana.get("/models").await.ok();
    let expected = json!([
        {
            "name": "large", "default": false, "context_tokens": 8192, "prompt_price": 2.5, "completion_price": 10.0,
        },
        {
            "name": "small", "default": true, "context_tokens": null, "prompt_price": null, "completion_price": null,
        },
    ]);
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
