//! Projects, and the versioned prompts in them.
//!
//! - [`model`]: how a project and a prompt begin
//! - [`service`]: one method per request
//! - [`store`]: the tables `projects`, `prompts`, `prompt_versions`
//! - [`error`]: what can go wrong, and the fault it becomes
//!
//! Nothing here can be configured.

use std::sync::Arc;

use bus::{Bus, Endpoints, SubscribeError};
use host::postgres::Pool;
use wire::operations::*;

pub mod error;
pub mod model;
pub mod service;
pub mod store;

pub use error::Error;
pub use service::Projects;

/// Answers the operations of this service until the process drains.
///
/// # Errors
/// The connection is closed.
pub async fn start(bus: &Bus, pool: Pool) -> Result<(), SubscribeError> {
    let service = Arc::new(Projects::new(pool));
    serve(bus, &service).await?;
    bus.introduce(wire::Service::Projects).await?;
    serve_versions(bus, &service).await
}

async fn serve(bus: &Bus, service: &Arc<Projects>) -> Result<(), SubscribeError> {
    Endpoints::new(bus, service)
        .guarded(CREATE_PROJECT, async |s, caller, _, new| s.create_project(caller, new).await)
        .await?
        .guarded(LIST_PROJECTS, async |s, caller, _, page| s.list_projects(caller, page).await)
        .await?
        .guarded(GET_PROJECT, async |s, caller, at, _| s.get_project(caller, at.id()?).await)
        .await?
        .guarded(REPLACE_PROJECT, async |s, caller, at, new| s.replace_project(caller, at.id()?, new).await)
        .await?
        .guarded(UPDATE_PROJECT, async |s, caller, at, new| s.update_project(caller, at.id()?, new).await)
        .await?
        .guarded(DELETE_PROJECT, async |s, caller, at, _| s.delete_project(caller, at.id()?).await)
        .await?
        .guarded(CREATE_PROMPT, async |s, caller, at, new| s.create_prompt(caller, at.id()?, new).await)
        .await?
        .guarded(LIST_PROMPTS, async |s, caller, at, page| s.list_prompts(caller, at.id()?, page).await)
        .await?
        .guarded(GET_PROMPT, async |s, caller, at, _| s.get_prompt(caller, at.id()?, at.id()?).await)
        .await?
        .guarded(UPDATE_PROMPT, async |s, caller, at, new| {
            s.update_prompt(caller, at.id()?, at.id()?, new).await
        })
        .await?
        .guarded(DELETE_PROMPT, async |s, caller, at, _| s.delete_prompt(caller, at.id()?, at.id()?).await)
        .await?;
    Ok(())
}

async fn serve_versions(bus: &Bus, service: &Arc<Projects>) -> Result<(), SubscribeError> {
    Endpoints::new(bus, service)
        .guarded(LIST_PROMPT_VERSIONS, async |s, caller, at, page| {
            s.list_versions(caller, at.id()?, at.id()?, page).await
        })
        .await?
        .guarded(GET_PROMPT_VERSION, async |s, caller, at, which| {
            s.get_version(caller, at.id()?, at.id()?, which).await
        })
        .await?
        .guarded(ROLL_BACK_PROMPT, async |s, caller, at, to| {
            s.roll_back(caller, at.id()?, at.id()?, to).await
        })
        .await?
        .guarded(LIST_PROMPT_LABELS, async |s, caller, at, _| s.list_labels(caller, at.id()?, at.id()?).await)
        .await?
        .guarded(LABEL_PROMPT, async |s, caller, at, label| s.label(caller, at.id()?, at.id()?, label).await)
        .await?
        .guarded(UNLABEL_PROMPT, async |s, caller, at, label| {
            s.unlabel(caller, at.id()?, at.id()?, label).await
        })
        .await?
        .guarded(RENDER_PROMPT, async |s, caller, at, request| {
            s.render(caller, at.id()?, at.id()?, request).await
        })
        .await?;
    Ok(())
}
