"""An MCP server with one tool, in the words of the mcp package; examples/mcp_tools.py starts it."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather station", log_level="WARNING")

FORECASTS = {"Berlin": "18 °C and partly cloudy", "Oslo": "9 °C and rain"}


@server.tool(description="Current weather of a city")
async def get_weather(city: str) -> str:
    return FORECASTS.get(city, f"There is no station in {city}.")


if __name__ == "__main__":
    server.run("stdio")
