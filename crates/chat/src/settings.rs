//! How a model is called, in the words of those who call it.

use wire::{Settings, ToolMode};

/// Settings of the contract as settings of a call.
pub fn of_call(settings: Settings) -> llm::Settings {
    let Settings {
        temperature,
        top_p,
        max_tokens,
        stop,
        seed,
        presence_penalty,
        frequency_penalty,
        reasoning_effort,
        tools,
        tool_choice,
        response_format,
        extra,
    } = settings;
    llm::Settings {
        temperature,
        top_p,
        max_tokens,
        stop,
        seed,
        presence_penalty,
        frequency_penalty,
        reasoning_effort: reasoning_effort.map(effort),
        tools: tools.map(|tools| tools.into_iter().map(tool).collect()),
        tool_choice: tool_choice.map(choice),
        response_format: response_format.map(format),
        extra,
    }
}

const fn effort(effort: wire::ReasoningEffort) -> llm::ReasoningEffort {
    match effort {
        wire::ReasoningEffort::None => llm::ReasoningEffort::None,
        wire::ReasoningEffort::Minimal => llm::ReasoningEffort::Minimal,
        wire::ReasoningEffort::Low => llm::ReasoningEffort::Low,
        wire::ReasoningEffort::Medium => llm::ReasoningEffort::Medium,
        wire::ReasoningEffort::High => llm::ReasoningEffort::High,
        wire::ReasoningEffort::Xhigh => llm::ReasoningEffort::Xhigh,
    }
}

fn tool(tool: wire::Tool) -> llm::Tool {
    let wire::Function { name, description, parameters, strict } = tool.function;
    llm::Tool { name, description, parameters, strict }
}

fn choice(choice: wire::ToolChoice) -> llm::ToolChoice {
    match choice {
        wire::ToolChoice::Mode(ToolMode::None) => llm::ToolChoice::None,
        wire::ToolChoice::Mode(ToolMode::Auto) => llm::ToolChoice::Auto,
        wire::ToolChoice::Mode(ToolMode::Required) => llm::ToolChoice::Required,
        wire::ToolChoice::Function(named) => llm::ToolChoice::Function(named.function.name),
    }
}

fn format(format: wire::ResponseFormat) -> llm::ResponseFormat {
    match format {
        wire::ResponseFormat::Text {} => llm::ResponseFormat::Text,
        wire::ResponseFormat::JsonObject {} => llm::ResponseFormat::JsonObject,
        wire::ResponseFormat::JsonSchema { json_schema } => {
            let wire::JsonFormat { name, description, schema, strict } = *json_schema;
            llm::ResponseFormat::JsonSchema(Box::new(llm::JsonFormat { name, description, schema, strict }))
        }
    }
}

#[cfg(test)]
mod tests {
    /// Users are refused by name what a call would refuse as a whole.
    #[test]
    fn what_a_call_has_already_no_user_may_name() {
        for name in llm::RESERVED_PARAMETERS {
            assert!(wire::settings::RESERVED.contains(name), "{name}");
        }
    }
}
