"""Azure OpenAI instead of OpenAI.

python examples/azure.py          shows where it would connect, with made-up values where yours are not set
python examples/azure.py --run    talk to it: needs the three variables below and rtvoice[audio]

AZURE_OPENAI_ENDPOINT      https://your-resource.openai.azure.com
AZURE_OPENAI_DEPLOYMENT    the name of your deployment of a realtime model
AZURE_OPENAI_API_KEY       the key; or pass token_provider= for Entra ID
"""

import asyncio
import os
import sys

from rtvoice import AzureOpenAIProvider, RealtimeAgent


def main() -> None:
    if "--run" not in sys.argv:
        os.environ.setdefault("AZURE_OPENAI_ENDPOINT", "https://your-resource.openai.azure.com")
        os.environ.setdefault("AZURE_OPENAI_DEPLOYMENT", "gpt-realtime")
        os.environ.setdefault("AZURE_OPENAI_API_KEY", "your-key")

    # Everything can also be given here: AzureOpenAIProvider(azure_endpoint=..., azure_deployment=..., api_key=...)
    provider = AzureOpenAIProvider()
    print("connects to", provider.build_url(model=""))  # with Azure the deployment decides about the model

    agent: RealtimeAgent[None] = RealtimeAgent(instructions="Answer briefly.", provider=provider)
    if "--run" in sys.argv:
        asyncio.run(agent.run())


if __name__ == "__main__":
    main()
