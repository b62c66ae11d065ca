import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { PlayerModel } from "./model";

export const ModelContext = createContext<PlayerModel | undefined>(undefined);

export function useModel(): PlayerModel {
  const model = useContext(ModelContext);
  if (!model) throw new Error("useModel needs a ModelContext above it");
  return model;
}
