-- What a turn had said when it was cancelled. It is no message: nobody answers it, and the model is not told of it.
create table partial_answers (
    turn_id    uuid primary key,
    content    text not null,
    created_at timestamptz not null
);
create trigger partial_answers_are_facts before update on partial_answers for each row execute function refuse_change();

-- A turn that was given up after its last attempt, for an operator to look at; written with its outcome.
create table dead_letters (
    turn_id         uuid primary key,
    conversation_id uuid not null,
    user_id         uuid not null,
    reason          text not null,
    created_at      timestamptz not null
);
create index dead_letters_by_age on dead_letters (created_at desc);
create trigger dead_letters_are_facts before update on dead_letters for each row execute function refuse_change();

-- The turn that an operator had made in its place. The dead letter stays as it is.
create table redrives (
    turn_id    uuid primary key,
    new_turn   uuid not null,
    created_at timestamptz not null
);
create trigger redrives_are_facts before update on redrives for each row execute function refuse_change();
