package main

import (
	"embed"
	"fmt"

	"github.com/urfave/cli/v2"
)

// completionScripts are written by hand. Each asks the program itself, with the flag that App.EnableBashCompletion adds, so
// that none of them needs to know a command or a flag.
//
//go:embed completion
var completionScripts embed.FS

func completionCommand() *cli.Command {
	return command("completion", helpCompletion, nil, func(c *cli.Context) error {
		args, err := arguments(c, "SHELL")
		if err != nil {
			return err
		}
		switch shell := args[0]; shell {
		case "bash", "zsh", "fish":
			script, err := completionScripts.ReadFile("completion/telnetcpc." + shell)
			if err != nil {
				return fmt.Errorf("completion: %w", err)
			}
			_, err = c.App.Writer.Write(script)
			return err
		default:
			return usagef("completion: unknown shell %q (want bash, zsh or fish)", shell)
		}
	})
}
