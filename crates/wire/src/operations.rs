//! The catalogue of operations, in the order of `subjects.md`, which a test holds equal to it.

use crate::{
    Answer, Conversation, Done, FindTurn, ListConversations, ListMessages, LogIn, Message, NewConversation,
    NewProject, NewPrompt, Nothing, Operation, OperationInfo, Project, Prompt, Register, SendMessage,
    Service, Session, Turn, UpdateConversation, UpdateProject, UpdatePrompt, User, Validity,
};

macro_rules! operations {
    ($($service:ident { $($name:ident($request:ty) -> $reply:ty = $pattern:literal, $summary:literal;)+ })+) => {
        $($(
            #[doc = $summary]
            pub const $name: Operation<$request, $reply> = Operation::new(OperationInfo {
                name: stringify!($name),
                service: Service::$service,
                pattern: $pattern,
                summary: $summary,
                request: stringify!($request),
                reply: stringify!($reply),
            });
        )+)+

        /// Every operation there is.
        pub const ALL: &[OperationInfo] = &[$($($name.info),+),+];
    };
}

operations! {
    Auth {
        REGISTER(Register) -> User = "omnichat.v1.auth.register", "Makes an account.";
        LOG_IN(LogIn) -> Session = "omnichat.v1.auth.login", "Opens a session.";
        GET_ACCOUNT(Nothing) -> User = "omnichat.v1.u.{user}.account.get", "Shows the caller's account.";
        VALIDATE_ACCOUNT(Nothing) -> Validity = "omnichat.v1.u.{user}.account.validate", "Tells whether the caller's account is active.";
    }
    Projects {
        CREATE_PROJECT(NewProject) -> Project = "omnichat.v1.u.{user}.projects.create", "Makes a project.";
        LIST_PROJECTS(Nothing) -> Vec<Project> = "omnichat.v1.u.{user}.projects.list", "Lists the caller's projects, oldest first.";
        GET_PROJECT(Nothing) -> Project = "omnichat.v1.u.{user}.projects.{project}.get", "Shows a project.";
        REPLACE_PROJECT(NewProject) -> Project = "omnichat.v1.u.{user}.projects.{project}.replace", "Replaces the name and description of a project.";
        UPDATE_PROJECT(UpdateProject) -> Project = "omnichat.v1.u.{user}.projects.{project}.update", "Changes what is given of a project.";
        DELETE_PROJECT(Nothing) -> Done = "omnichat.v1.u.{user}.projects.{project}.delete", "Deletes a project with its prompts and conversations.";
        CREATE_PROMPT(NewPrompt) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.create", "Makes a prompt at version 1.";
        LIST_PROMPTS(Nothing) -> Vec<Prompt> = "omnichat.v1.u.{user}.projects.{project}.prompts.list", "Lists the prompts of a project, oldest first.";
        GET_PROMPT(Nothing) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.get", "Shows a prompt at its current version.";
        UPDATE_PROMPT(UpdatePrompt) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.update", "Makes the next version of a prompt.";
        DELETE_PROMPT(Nothing) -> Done = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.delete", "Deletes a prompt with its versions.";
    }
    Chat {
        CREATE_CONVERSATION(NewConversation) -> Conversation = "omnichat.v1.u.{user}.conversations.create", "Starts a conversation.";
        LIST_CONVERSATIONS(ListConversations) -> Vec<Conversation> = "omnichat.v1.u.{user}.conversations.list", "Lists the conversations of a project, oldest first.";
        GET_CONVERSATION(Nothing) -> Conversation = "omnichat.v1.u.{user}.conversations.{conversation}.get", "Shows a conversation.";
        UPDATE_CONVERSATION(UpdateConversation) -> Conversation = "omnichat.v1.u.{user}.conversations.{conversation}.update", "Changes what is given of a conversation.";
        DELETE_CONVERSATION(Nothing) -> Done = "omnichat.v1.u.{user}.conversations.{conversation}.delete", "Deletes a conversation.";
        LIST_MESSAGES(ListMessages) -> Vec<Message> = "omnichat.v1.u.{user}.conversations.{conversation}.messages", "Lists the messages of a conversation, oldest first.";
        SEND_MESSAGE(SendMessage) -> Answer = "omnichat.v1.u.{user}.conversations.{conversation}.send", "Sends a message; the reply is the turn's outcome.";
        GET_TURN(Nothing) -> Turn = "omnichat.v1.u.{user}.turns.{turn}.get", "Shows a turn.";
        FIND_TURN(FindTurn) -> Turn = "omnichat.v1.u.{user}.turns.find", "Finds a turn by the key it was sent with.";
    }
}
