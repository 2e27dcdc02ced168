//! How the roles are spread over processes.

/// A role of the program, as `omnichat serve` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// HTTP in, NATS requests out.
    Ingress,
    /// Accounts.
    Auth,
    /// Projects and prompts.
    Projects,
    /// Conversations and turns.
    Chat,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Ingress, Self::Auth, Self::Projects, Self::Chat];

    /// Its name on the command line, and that of its NATS user.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Auth => "auth",
            Self::Projects => "projects",
            Self::Chat => "chat",
        }
    }
}

/// Which processes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `omnichat serve`
    OneProcess,
    /// `omnichat serve ingress`, `omnichat serve auth`, …
    ProcessPerRole,
}

impl Layout {
    /// The roles of each process.
    pub const fn processes(self) -> &'static [&'static [Role]] {
        match self {
            Self::OneProcess => &[&Role::ALL],
            Self::ProcessPerRole => &[&[Role::Auth], &[Role::Projects], &[Role::Chat], &[Role::Ingress]],
        }
    }
}

/// Runs each of these `async fn(Layout)` twice: as `one_process::…` and as `process_per_role::…`.
#[macro_export]
macro_rules! both_layouts {
    ($($test:ident),+ $(,)?) => {
        mod one_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::Layout::OneProcess).await;
            })+
        }
        mod process_per_role {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::Layout::ProcessPerRole).await;
            })+
        }
    };
}
