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
use sqlx::PgPool;
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
pub async fn start(bus: &Bus, pool: PgPool) -> Result<(), SubscribeError> {
    let service = Arc::new(Projects::new(pool));
    Endpoints::new(bus, &service)
        .guarded(CREATE_PROJECT, async |s, caller, _, new| s.create_project(caller, new).await)
        .await?
        .guarded(LIST_PROJECTS, async |s, caller, _, _| s.list_projects(caller).await)
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
        .guarded(LIST_PROMPTS, async |s, caller, at, _| s.list_prompts(caller, at.id()?).await)
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
