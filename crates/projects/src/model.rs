//! How a project and a prompt begin, and what a replacement changes. Beyond that they are the wire's own entities, whose
//! fields were checked when the request was read.

use identity::Principal;
use wire::{NewProject, NewPrompt, Project, ProjectId, Prompt, PromptId, UpdateProject};

/// The version that a prompt begins with; each later one is one more.
const FIRST_VERSION: i32 = 1;

/// A project of the caller's, as it begins.
pub fn begin_project(caller: Principal, new: NewProject) -> Project {
    let now = wire::now();
    Project {
        id: ProjectId::new(),
        user_id: caller.user(),
        name: new.name,
        description: new.description,
        created_at: now,
        updated_at: now,
    }
}

/// A prompt of a project, as it begins.
pub fn begin_prompt(project: ProjectId, new: NewPrompt) -> Prompt {
    let now = wire::now();
    Prompt {
        id: PromptId::new(),
        project_id: project,
        name: new.name,
        content: new.content,
        version: FIRST_VERSION,
        created_at: now,
        updated_at: now,
    }
}

/// A replacement changes everything: what it does not give is taken away.
pub fn replacement(new: NewProject) -> UpdateProject {
    UpdateProject { name: Some(new.name), description: Some(new.description) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_without_a_description_takes_it_away() {
        let changes = replacement(NewProject { name: "n".into(), description: None });
        assert_eq!((changes.name.as_deref(), changes.description), (Some("n"), Some(None)));
    }
}
